//! What was asked: path and parameters.
use http::Method;

/// A request to the admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// GET or POST.
    pub method: Method,
    /// Without parameters.
    pub path: String,
    parameters: Vec<(String, String)>,
}

impl Query {
    /// Read a request's target.
    pub fn new(method: Method, path: &str, query: &str) -> Query {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let parameters = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Query { method, path: path.to_owned(), parameters: parameters.collect() }
    }

    /// A parameter's value; empty when it has none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is there.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// Percent decoding. A plus stays a plus, for filters are full of them.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut rest = bytes.clone();
        match (byte, rest.next().and_then(hex), rest.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                bytes = rest;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::new(Method::GET, "/stats", "usedonly&filter=%5Ehttp\\.in%2B%7Ca%zz");
        assert!(query.has("usedonly"));
        assert_eq!(query.get("filter"), Some("^http\\.in+|a%zz"));
        assert_eq!(query.get("format"), None);
    }
}
