//! What goes downstream: heads, bodies, trailers; and the answers that this proxy gives itself.
use super::Worker;
use super::connection::{Close, Machine};
use super::exchange::{Exchange, Kind, Phase, Side};
use super::http2::content_length;
use super::slots::Key;
use ripstop_core::http::{BodyLength, HeaderId, Headers, ResponseHead, Version};
use ripstop_core::http1;
use ripstop_core::http2::Code;
use ripstop_core::outcome::Flags;
use ripstop_core::snapshot::{ProxyStatus, ServerHeader};
use ripstop_core::template::map_reply;

impl Worker {
    /// Send the head in `ex.response`; `end` when no body follows.
    pub(crate) fn send_head(&mut self, ex: &mut Exchange, end: bool) {
        let draining = self.overload.is_shedding() || self.is_draining_connection(ex.down.connection);
        let most =
            ex.chain.as_ref().and_then(|c| c.manager.as_ref()).map_or(0, |m| m.max_requests_per_connection);
        let Some(connection) = self.connections.get_mut(ex.down.connection) else { return };
        match &mut connection.machine {
            Machine::H1Server(h1) => {
                let body = response_length(ex, end);
                // What follows a refused tunnel may have been meant for it.
                let is_refused_tunnel = match ex.kind {
                    Kind::Upgrade => ex.response.status != 101,
                    Kind::Connect => !(200..300).contains(&ex.response.status),
                    _ => false,
                };
                let worn_out = is_refused_tunnel || (most > 0 && h1.requests >= u64::from(most));
                if body == BodyLength::UntilClose || !ex.request_ended || draining || worn_out {
                    h1.keep_alive = false;
                }
                h1.body_sent_chunked = body == BodyLength::Chunked;
                let keep = (h1.keep_alive && !h1.is_last) || ex.response.status == 101;
                let out = &mut connection.plain;
                http1::write_response(&ex.response, body, ex.request.method(), ex.request.version, keep, out);
            }
            Machine::H2Server(h2) => {
                if ex.response.status == 101 {
                    ex.response.status = 200; // RFC 8441, section 5
                    ex.response.headers.remove(HeaderId::Upgrade);
                }
                strip_for_h2(&mut ex.response);
                h2.machine.send_response(ex.down.stream, &ex.response, end);
            }
            _ => return,
        }
        self.mark_dirty(ex.down.connection);
    }

    pub(crate) fn send_interim(&mut self, ex: &mut Exchange) {
        let Some(connection) = self.connections.get_mut(ex.down.connection) else { return };
        match &mut connection.machine {
            Machine::H1Server(_) if ex.request.version == Version::Http11 => {
                let (method, version) = (ex.request.method(), ex.request.version);
                http1::write_response(
                    &ex.response,
                    BodyLength::Empty,
                    method,
                    version,
                    true,
                    &mut connection.plain,
                );
            }
            Machine::H2Server(h2) => {
                strip_for_h2(&mut ex.response);
                h2.machine.send_response(ex.down.stream, &ex.response, false);
            }
            _ => return,
        }
        self.mark_dirty(ex.down.connection);
    }

    /// Send a piece of the body, and its end with `ex.trailers`.
    pub(crate) fn send_body(&mut self, ex: &mut Exchange, data: &[u8], end: bool) {
        ex.bytes_sent += data.len() as u64;
        let Some(connection) = self.connections.get_mut(ex.down.connection) else { return };
        let has_trailers = end && !ex.trailers.is_empty();
        match &mut connection.machine {
            Machine::H1Server(h1) => {
                let is_chunked = h1.body_sent_chunked && !ex.is_head;
                if !data.is_empty() && is_chunked {
                    http1::chunk_header(data.len(), &mut connection.plain);
                }
                connection.write_body(data);
                if !data.is_empty() && is_chunked {
                    connection.plain.extend_from_slice(b"\r\n");
                }
                if end && is_chunked {
                    let trailers = has_trailers.then_some(&ex.trailers);
                    http1::write_last_chunk(trailers, &mut connection.plain);
                }
            }
            Machine::H2Server(h2) => {
                if !data.is_empty() || (end && !has_trailers) {
                    h2.machine.send_data(ex.down.stream, data, end && !has_trailers);
                }
                if has_trailers {
                    h2.machine.send_trailers(ex.down.stream, &ex.trailers);
                }
            }
            Machine::Raw(_) => {
                connection.write_body(data);
                if end && connection.close_after_write == Close::No {
                    connection.close_after_write = Close::Write;
                }
            }
            _ => return,
        }
        self.mark_dirty(ex.down.connection);
    }

    /// Answer by ourselves and end the exchange. Nothing of an answer went downstream before.
    pub(crate) fn local_reply(
        &mut self,
        key: Key,
        ex: &mut Exchange,
        status: u16,
        body: &str,
        details: &'static str,
    ) {
        self.local_reply_with(key, ex, status, body, details, |_| {});
    }

    /// The same; `change` may add to the head.
    pub(crate) fn local_reply_with(
        &mut self,
        key: Key,
        ex: &mut Exchange,
        status: u16,
        body: &str,
        details: &'static str,
        change: impl FnOnce(&mut ResponseHead),
    ) {
        ex.details = details;
        if ex.kind == Kind::Mirror || ex.down_gone {
            return self.finish(key, ex);
        }
        if ex.response_started {
            return self.abort_response(key, ex);
        }
        self.abort_upstream(ex, Code::CANCEL);
        ex.response.clear();
        change(&mut ex.response);
        let mut body = body.as_bytes().to_vec();
        ex.response.status = status;
        ex.status = status;
        ex.local_body = String::from_utf8_lossy(&body).into_owned();
        self.change_response(ex, true);
        let mut content_type = String::from("text/plain");
        let before = body.len();
        if let Some(manager) = ex.chain.as_ref().and_then(|chain| chain.manager.clone()) {
            let mut response = std::mem::take(&mut ex.response);
            let record = self.record(ex);
            let kind = map_reply(&manager.local_replies, &record, &mut response, &mut body, ex.random);
            kind.clone_into(&mut content_type);
            ex.response = response;
        }
        let status = ex.response.status;
        ex.status = status;
        let is_grpc = ex.is_grpc && status != 200;
        if is_grpc {
            self.grpc_reply(ex, &body);
            body.clear();
        } else if !body.is_empty()
            && (body.len() != before || !ex.response.headers.has(HeaderId::ContentType))
        {
            ex.response.headers.set(HeaderId::ContentType, content_type.as_bytes());
        }
        if !is_grpc {
            let mut text = itoa::Buffer::new();
            let has_none = status < 200 || status == 204 || status == 304;
            if !has_none {
                ex.response.headers.set(HeaderId::ContentLength, text.format(body.len()).as_bytes());
            }
        }
        self.answer_filters(ex, true);
        self.base_response_headers(ex, true);
        ex.response_started = true;
        ex.response_start_at = self.now;
        ex.phase = Phase::Answering;
        let end = body.is_empty() || ex.is_head;
        self.send_head(ex, end);
        ex.trailers.clear();
        if !end {
            self.send_body(ex, &body, true);
        }
        ex.response_ended = true;
        self.finish(key, ex);
    }

    /// gRPC is told in its own words, by trailers only (gRPC over HTTP/2: "Trailers-Only"; Envoy: `grpc_status`).
    fn grpc_reply(&mut self, ex: &mut Exchange, body: &[u8]) {
        let code = ex.response.headers.get(HeaderId::GrpcStatus).map(<[u8]>::to_vec);
        let status = ex.response.status;
        (ex.response.status, ex.status) = (200, 200);
        let body = body.strip_suffix(b"\n").unwrap_or(body); // JSON formats end so
        let headers = &mut ex.response.headers;
        headers.set(HeaderId::ContentType, b"application/grpc");
        let mut text = itoa::Buffer::new();
        let code = code.unwrap_or_else(|| text.format(grpc_of(status, ex.flags)).as_bytes().to_vec());
        headers.set(HeaderId::GrpcStatus, &code);
        if !body.is_empty() {
            headers.set(HeaderId::GrpcMessage, &percent_encode(body));
        }
    }

    /// Server, Date and the like.
    pub(crate) fn base_response_headers(&mut self, ex: &mut Exchange, is_local: bool) {
        let Some(manager) = ex.chain.as_ref().and_then(|chain| chain.manager.as_ref()) else { return };
        let headers = &mut ex.response.headers;
        match manager.server_header {
            ServerHeader::Overwrite => headers.set(HeaderId::Server, manager.server_name.as_bytes()),
            ServerHeader::AppendIfAbsent if !headers.has(HeaderId::Server) => {
                headers.push_known(HeaderId::Server, manager.server_name.as_bytes());
            }
            ServerHeader::PassThrough if is_local && !headers.has(HeaderId::Server) => {
                headers.push_known(HeaderId::Server, manager.server_name.as_bytes());
            }
            _ => {}
        }
        if !headers.has(HeaderId::Date) {
            let date = self.logs.date(ex.start_wall + self.now.since(ex.start));
            headers.push_known(HeaderId::Date, date);
        }
        if !manager.via.is_empty() {
            headers.push_known(HeaderId::Via, manager.via.as_bytes());
        }
        if manager.always_set_request_id_in_response
            && let Some(id) = ex.request.headers.get(HeaderId::XRequestId)
        {
            headers.set(HeaderId::XRequestId, id);
        }
        if let Some(config) = &manager.proxy_status
            && let Some(error) = ex.flags.proxy_error()
        {
            let details = if ex.details_text.is_empty() { ex.details } else { &ex.details_text };
            tell_status(headers, config, error, details, ex.flags);
        }
    }

    /// An answer that has begun cannot be ended well: the stream is reset, or the connection closed.
    pub(crate) fn abort_response(&mut self, key: Key, ex: &mut Exchange) {
        self.abort_upstream(ex, Code::CANCEL);
        let down = ex.down;
        if let Some(connection) = self.connections.get_mut(down.connection) {
            match &mut connection.machine {
                Machine::H2Server(h2) => {
                    h2.machine.reset(down.stream, Code::INTERNAL_ERROR);
                    self.h2_server_done(down.connection, down.stream);
                }
                Machine::H1Server(h1) => {
                    (h1.keep_alive, h1.is_last) = (false, true);
                    connection.close_after_write = Close::Both;
                    h1.exchange = Key::NONE;
                    self.mark_dirty(down.connection);
                }
                Machine::Raw(_) => {
                    connection.close_after_write = Close::Both;
                    self.mark_dirty(down.connection);
                }
                _ => {}
            }
        }
        ex.down = Side::NONE;
        self.finish(key, ex);
    }

    /// The message itself was refused: answered as far as that can be, then the connection ends (RFC 9112, section 2.2).
    pub(crate) fn refuse_message(&mut self, key: Key, ex: &mut Exchange, status: u16, why: &'static str) {
        if let Some(chain) = ex.chain.clone().filter(|_| !ex.counted) {
            ex.counted = true;
            self.stats.request_began(chain.stats);
        }
        if status != 408 {
            ex.flags.set(Flags::DOWNSTREAM_PROTOCOL_ERROR);
        }
        let body = match status {
            400 => "Bad Request",
            408 => "request header timeout",
            414 => "URI Too Long",
            431 => "Request Header Fields Too Large",
            501 => "Not Implemented",
            505 => "HTTP Version Not Supported",
            _ => "",
        };
        self.local_reply(key, ex, status, body, why);
    }

    /// A request's body broke the rules after its head was taken.
    pub(crate) fn request_broken(&mut self, key: Key, ex: &mut Exchange, why: &'static str) {
        ex.flags.set(Flags::DOWNSTREAM_PROTOCOL_ERROR);
        ex.request_ended = false;
        if ex.response_started {
            ex.details = why;
            return self.abort_response(key, ex);
        }
        self.local_reply(key, ex, 400, "Bad Request", why);
    }
}

/// How the body is framed for an HTTP/1 client.
fn response_length(ex: &Exchange, end: bool) -> BodyLength {
    if let Some(length) = content_length(&ex.response.headers) {
        return BodyLength::Exact(length);
    }
    let has_none = ex.is_head || ex.response.status < 200 || matches!(ex.response.status, 204 | 304);
    match end {
        _ if has_none || ex.kind == Kind::Connect => BodyLength::Empty,
        true => BodyLength::Exact(0),
        false if ex.request.version == Version::Http10 => BodyLength::UntilClose,
        false => BodyLength::Chunked,
    }
}

/// Fields that HTTP/2 does not have (RFC 9113, section 8.2.2).
fn strip_for_h2(head: &mut ResponseHead) {
    use HeaderId::{Connection, KeepAlive, ProxyConnection, TransferEncoding, Upgrade};
    for id in [Connection, KeepAlive, ProxyConnection, TransferEncoding, Upgrade] {
        head.headers.remove(id);
    }
}

/// The gRPC status of an HTTP status (gRPC: "HTTP to gRPC Status Code Mapping").
pub(crate) fn grpc_of(status: u16, flags: Flags) -> u32 {
    match status {
        _ if flags.has(Flags::UPSTREAM_REQUEST_TIMEOUT) && status == 504 => 14,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// `grpc-message` is percent-encoded (gRPC over HTTP/2, "Responses").
fn percent_encode(text: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    out
}

/// `Proxy-Status` (RFC 9209), behind what proxies before us told, in Envoy's form.
fn tell_status(headers: &mut Headers, config: &ProxyStatus, error: &str, details: &str, flags: Flags) {
    let mut text = headers.get(HeaderId::ProxyStatus).map(<[u8]>::to_vec).unwrap_or_default();
    if !text.is_empty() {
        text.extend_from_slice(b", ");
    }
    text.extend_from_slice(config.name.as_bytes());
    text.extend_from_slice(b"; error=");
    text.extend_from_slice(error.as_bytes());
    if config.tells_details && !details.is_empty() {
        text.extend_from_slice(b"; details=\"");
        text.extend(details.bytes().filter(|byte| !matches!(byte, b'"' | b'\\')));
        if config.tells_flags {
            text.extend_from_slice(format!("; {flags}").as_bytes());
        }
        text.push(b'"');
    }
    headers.set(HeaderId::ProxyStatus, &text);
}
