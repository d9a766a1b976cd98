//! gRPC statuses as resilience sees them.
use crate::http::{HeaderId, Headers};

/// The statuses that decisions are made by (gRPC "Status codes").
#[allow(missing_docs)]
pub struct GrpcStatus;

#[allow(missing_docs)]
impl GrpcStatus {
    pub const OK: u32 = 0;
    pub const CANCELLED: u32 = 1;
    pub const DEADLINE_EXCEEDED: u32 = 4;
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    pub const INTERNAL: u32 = 13;
    pub const UNAVAILABLE: u32 = 14;

    /// The status that fields tell; None when they tell none or nonsense.
    pub fn of(headers: &Headers) -> Option<u32> {
        std::str::from_utf8(headers.get(HeaderId::GrpcStatus)?).ok()?.parse().ok()
    }
}

/// The HTTP status that stands for a gRPC status; outlier detection counts a response of headers alone as this.
pub const fn http_status_of(grpc: u32) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}
