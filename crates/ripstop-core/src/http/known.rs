//! Header names that decisions look at, as small numbers: they are compared and found without looking at text.

macro_rules! known {
    ($($id:ident = $name:literal),* $(,)?) => {
        /// A header name: one of those known here, or `Other`, whose text is with the field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HeaderId {
            /// Any other name.
            Other = 0,
            $(#[doc = $name] $id,)*
        }

        const NAMES: &[&str] = &["", $($name),*];

        impl HeaderId {
            /// The number of ids, `Other` among them.
            pub const COUNT: usize = NAMES.len();

            const ALL: [HeaderId; NAMES.len()] = [HeaderId::Other, $(HeaderId::$id),*];
        }
    };
}

mod table {
    known! {
        Host = "host", Connection = "connection", ContentLength = "content-length",
        TransferEncoding = "transfer-encoding", Te = "te", Trailer = "trailer", Upgrade = "upgrade",
        KeepAlive = "keep-alive", ProxyConnection = "proxy-connection",
        ProxyAuthenticate = "proxy-authenticate", ProxyAuthorization = "proxy-authorization",
        Expect = "expect", ContentType = "content-type", ContentEncoding = "content-encoding",
        Accept = "accept", AcceptEncoding = "accept-encoding", AcceptLanguage = "accept-language",
        UserAgent = "user-agent", Authorization = "authorization", Cookie = "cookie", SetCookie = "set-cookie",
        Date = "date", Server = "server", Location = "location", Origin = "origin", Vary = "vary",
        Via = "via", Etag = "etag", CacheControl = "cache-control", LastModified = "last-modified",
        Referer = "referer", Forwarded = "forwarded", RetryAfter = "retry-after",
        AcceptRanges = "accept-ranges", Http2Settings = "http2-settings",
        XForwardedFor = "x-forwarded-for", XForwardedProto = "x-forwarded-proto",
        XForwardedHost = "x-forwarded-host", XForwardedPort = "x-forwarded-port",
        XForwardedClientCert = "x-forwarded-client-cert", XRequestId = "x-request-id",
        XEnvoyOriginalPath = "x-envoy-original-path",
        XEnvoyUpstreamServiceTime = "x-envoy-upstream-service-time",
        XEnvoyAttemptCount = "x-envoy-attempt-count",
        XEnvoyExpectedRqTimeoutMs = "x-envoy-expected-rq-timeout-ms",
        XEnvoyExternalAddress = "x-envoy-external-address", XEnvoyInternal = "x-envoy-internal",
        XRipstopNotSent = "x-ripstop-not-sent", MeshDegraded = "mesh-degraded", ProxyStatus = "proxy-status",
        Traceparent = "traceparent", Tracestate = "tracestate", B3 = "b3", XB3TraceId = "x-b3-traceid",
        GrpcStatus = "grpc-status", GrpcMessage = "grpc-message", GrpcTimeout = "grpc-timeout",
        GrpcEncoding = "grpc-encoding", GrpcAcceptEncoding = "grpc-accept-encoding",
        IdempotencyKey = "idempotency-key",
        AccessControlRequestMethod = "access-control-request-method",
        AccessControlRequestHeaders = "access-control-request-headers",
        AccessControlAllowOrigin = "access-control-allow-origin",
        AccessControlAllowMethods = "access-control-allow-methods",
        AccessControlAllowHeaders = "access-control-allow-headers",
        AccessControlAllowCredentials = "access-control-allow-credentials",
        AccessControlExposeHeaders = "access-control-expose-headers",
        AccessControlMaxAge = "access-control-max-age",
    }

    impl HeaderId {
        /// The name in lower case; empty for `Other`.
        pub const fn name(self) -> &'static str {
            NAMES[self as usize]
        }

        /// The id of a name in lower case.
        pub fn of(name: &[u8]) -> HeaderId {
            HeaderId::among(name, |word| word)
        }

        /// The id of a name in any case.
        #[inline]
        pub(crate) fn of_any_case(name: &[u8]) -> HeaderId {
            HeaderId::among(name, lower)
        }

        #[inline(always)]
        fn among(name: &[u8], lower: impl Fn(u64) -> u64) -> HeaderId {
            if name.len() < SHORTEST || name.len() > LONGEST {
                return HeaderId::Other;
            }
            let id = HeaderId::ALL[usize::from(SLOTS[slot(name, FACTOR)])];
            if is_same(NAMES[id as usize].as_bytes(), name, lower) { id } else { HeaderId::Other }
        }
    }

    /// Eight octets with `A` to `Z` in lower case and all others as they are.
    pub(super) const fn lower(word: u64) -> u64 {
        const ONES: u64 = 0x0101_0101_0101_0101;
        let low = word & (0x7f * ONES);
        let from_a = low + (0x80 - b'A' as u64) * ONES;
        let after_z = low + (0x7f - b'Z' as u64) * ONES;
        word | (from_a & !after_z & !word & (0x80 * ONES)) >> 2
    }

    const SHORTEST: usize = 2;
    const LONGEST: usize = 32;
    const SLOTS_LOG2: u32 = 10;

    /// With this factor no two names share a slot: it is found when this is compiled.
    const FACTOR: u32 = factor();

    /// For each slot the one name that may be there.
    static SLOTS: [u8; 1 << SLOTS_LOG2] = match fill(FACTOR) {
        Some(slots) => slots,
        None => panic!("the factor was tried"),
    };

    /// The slot of a name in any case: by its length and three of its octets, enough to tell the known ones apart.
    const fn slot(name: &[u8], factor: u32) -> usize {
        let last = name.len() - 1;
        let fourth_last = last.saturating_sub(3);
        let key = [name.len() as u8, name[0] | 0x20, name[name.len() / 2] | 0x20, name[fourth_last] | 0x20];
        (u32::from_le_bytes(key).wrapping_mul(factor) >> (32 - SLOTS_LOG2)) as usize
    }

    const fn factor() -> u32 {
        let mut factor = 0x9e37_79b1;
        let mut tries = 0;
        while tries < 1000 {
            if fill(factor).is_some() {
                return factor;
            }
            factor = factor.wrapping_mul(0x2c1b_3c6d).wrapping_add(0x297a_2d38) | 1;
            tries += 1;
        }
        panic!("two names are alike in length and octets: look at another octet in `slot`");
    }

    const fn fill(factor: u32) -> Option<[u8; 1 << SLOTS_LOG2]> {
        let mut slots = [0; 1 << SLOTS_LOG2];
        let mut id = 1;
        while id < NAMES.len() {
            let name = NAMES[id].as_bytes();
            assert!(name.len() >= SHORTEST && name.len() <= LONGEST);
            let at = slot(name, factor);
            if slots[at] != 0 {
                return None;
            }
            slots[at] = id as u8;
            id += 1;
        }
        Some(slots)
    }

    /// Whether `name`, its words through `lower`, is `known`; a word at a time.
    #[inline(always)]
    fn is_same(known: &[u8], name: &[u8], lower: impl Fn(u64) -> u64) -> bool {
        if known.len() != name.len() {
            return false;
        }
        let is_word =
            |known: &[u8; 8], name: &[u8; 8]| u64::from_le_bytes(*known) == lower(u64::from_le_bytes(*name));
        let is_half = |known: &[u8; 4], name: &[u8; 4]| {
            u64::from(u32::from_le_bytes(*known)) == lower(u64::from(u32::from_le_bytes(*name)))
        };
        // The last word may overlap the one before it.
        if let (Some(known_end), Some(name_end)) = (known.last_chunk(), name.last_chunk()) {
            let mut words = known.as_chunks().0.iter().zip(name.as_chunks().0);
            return is_word(known_end, name_end) && words.all(|(known, name)| is_word(known, name));
        }
        if let (Some(known_end), Some(name_end)) = (known.last_chunk(), name.last_chunk()) {
            let mut halves = known.as_chunks().0.iter().zip(name.as_chunks().0);
            return is_half(known_end, name_end) && halves.all(|(known, name)| is_half(known, name));
        }
        known.iter().zip(name).all(|(known, name)| u64::from(*known) == lower(u64::from(*name)))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_word_is_lowered_as_its_octets_are() {
            for octet in 0..=u8::MAX {
                for beside in [b'A', b'Z', b'@', b'[', 0, 0xff] {
                    let word = [octet, beside, octet, octet, beside, beside, octet, beside];
                    let expected = word.map(|octet| octet.to_ascii_lowercase());
                    assert_eq!(lower(u64::from_le_bytes(word)).to_le_bytes(), expected);
                }
            }
        }

        #[test]
        fn each_known_name_is_found_and_no_other() {
            for (id, name) in HeaderId::ALL.iter().zip(NAMES).skip(1) {
                assert_eq!(HeaderId::of(name.as_bytes()), *id, "{name}");
                let upper = name.to_ascii_uppercase();
                assert_eq!(HeaderId::of_any_case(upper.as_bytes()), *id, "{upper}");
                assert_eq!(HeaderId::of(upper.as_bytes()), HeaderId::Other, "{upper}");
                for (at, octet) in name.bytes().enumerate() {
                    // The bits that tell cases apart tell other octets apart too.
                    for other in [b'_', octet ^ 0x20, octet ^ 0x80, octet & !0x60] {
                        let mut changed = name.as_bytes().to_vec();
                        changed[at] = other;
                        let is_upper = other == octet.to_ascii_uppercase() && other != octet;
                        assert_eq!(HeaderId::of(&changed), HeaderId::Other);
                        assert_eq!(
                            HeaderId::of_any_case(&changed) == *id,
                            is_upper,
                            "{}",
                            changed.escape_ascii()
                        );
                    }
                    let start = &name[..at];
                    assert_eq!(
                        HeaderId::of(start.as_bytes()) != HeaderId::Other,
                        NAMES[1..].contains(&start)
                    );
                }
            }
        }
    }
}

pub use table::HeaderId;

/// Turn `A` to `Z` into lower case; names are short, so eight octets at a time is what pays.
pub(super) fn lower_name(name: &mut [u8]) {
    let (words, rest) = name.as_chunks_mut::<8>();
    for word in words {
        *word = table::lower(u64::from_le_bytes(*word)).to_le_bytes();
    }
    rest.make_ascii_lowercase();
}
