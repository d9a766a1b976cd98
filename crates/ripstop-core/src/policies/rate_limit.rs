//! Local rate limits (`filters.http.local_ratelimit`): token buckets that all workers share.
use crate::snapshot::{LocalRateLimit, TokenBucket};
use crate::time::Time;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Times before the process began must be sayable: a full bucket was empty then.
const BEFORE: u64 = 1 << 62;

/// A token bucket without a lock. It begins full and fills continuously at `tokens_per_fill / fill_interval`, as Envoy's
/// does since 1.33: not in steps.
#[derive(Debug)]
pub struct Bucket {
    /// When it would have been empty, had it filled ever since; nanoseconds, moved by `BEFORE`.
    empty_at: AtomicU64,
    /// Nanoseconds that one token takes.
    per_token: u64,
    most: u32,
}

impl Bucket {
    /// A full bucket.
    pub fn new(config: &TokenBucket, now: Time) -> Bucket {
        let fill = u64::try_from(config.fill_interval.as_nanos()).unwrap_or(u64::MAX);
        let per_token = (fill / u64::from(config.tokens_per_fill.max(1))).max(1);
        let bucket = Bucket { empty_at: AtomicU64::new(0), per_token, most: config.max_tokens };
        bucket.empty_at.store(bucket.full_at(now), Ordering::Relaxed);
        bucket
    }

    /// `empty_at` of a bucket that is full now.
    fn full_at(&self, now: Time) -> u64 {
        moved(now).saturating_sub(self.per_token.saturating_mul(self.most.into()))
    }

    /// Take a token; false when there is none.
    pub fn take(&self, now: Time) -> bool {
        let earliest = self.full_at(now);
        let taken = self.empty_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |empty| {
            let after = empty.max(earliest).checked_add(self.per_token)?;
            (after <= moved(now)).then_some(after)
        });
        taken.is_ok()
    }

    /// The whole tokens there are (`x-ratelimit-remaining`).
    pub fn remaining(&self, now: Time) -> u32 {
        let empty = self.empty_at.load(Ordering::Relaxed).max(self.full_at(now));
        u32::try_from(moved(now).saturating_sub(empty) / self.per_token).unwrap_or(self.most)
    }

    /// The size (`x-ratelimit-limit`).
    pub fn limit(&self) -> u32 {
        self.most
    }

    /// Seconds until there is a token, rounded up; 0 when there is one (`x-ratelimit-reset`).
    pub fn seconds_until_token(&self, now: Time) -> u64 {
        let empty = self.empty_at.load(Ordering::Relaxed);
        let next = empty.max(self.full_at(now)).saturating_add(self.per_token);
        next.saturating_sub(moved(now)).div_ceil(1_000_000_000)
    }
}

fn moved(now: Time) -> u64 {
    now.0.saturating_add(BEFORE)
}

/// The buckets of all rate limits, by `LocalRateLimit::key`, so that a limit outlives updates that do not change it.
/// Workers ask once for each and keep what they get.
#[derive(Debug, Default)]
pub struct Buckets(Mutex<HashMap<u64, Arc<Bucket>, foldhash::fast::RandomState>>);

impl Buckets {
    /// The bucket of a limit; None where everything passes.
    pub fn get(&self, limit: &LocalRateLimit, now: Time) -> Option<Arc<Bucket>> {
        let config = limit.bucket.as_ref()?;
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(buckets.entry(limit.key).or_insert_with(|| Arc::new(Bucket::new(config, now))).clone())
    }

    /// Forget buckets that nobody else holds.
    pub fn forget_unused(&self) {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn bucket(most: u32, per_fill: u32, interval_ms: u64) -> Bucket {
        let config = TokenBucket {
            max_tokens: most,
            tokens_per_fill: per_fill,
            fill_interval: Duration::from_millis(interval_ms),
        };
        Bucket::new(&config, Time(0))
    }

    #[test]
    fn a_bucket_begins_full_and_fills_little_by_little() {
        let bucket = bucket(2, 2, 1000);
        let at = Time::from_millis;
        assert_eq!([bucket.take(at(0)), bucket.take(at(0)), bucket.take(at(0))], [true, true, false]);
        assert_eq!([bucket.take(at(499)), bucket.take(at(500)), bucket.take(at(501))], [false, true, false]);
        assert_eq!(bucket.remaining(at(10_000)), 2);
    }

    #[test]
    fn what_is_left_is_told() {
        let bucket = bucket(3, 2, 7000);
        let told = |now| (bucket.remaining(now), bucket.seconds_until_token(now));
        let mut seen = Vec::new();
        for _ in 0..4 {
            let passed = bucket.take(Time(0));
            seen.push((passed, told(Time(0))));
        }
        assert_eq!(seen, [(true, (2, 0)), (true, (1, 0)), (true, (0, 4)), (false, (0, 4))]);
        assert_eq!([told(Time::from_millis(1200)), told(Time::from_millis(60_000))], [(0, 3), (3, 0)]);
        assert_eq!(bucket.limit(), 3);
    }

    #[test]
    fn limits_with_one_key_share_a_bucket_until_nobody_holds_it() {
        let limit = LocalRateLimit {
            status: 429,
            bucket: Some(TokenBucket {
                max_tokens: 1,
                tokens_per_fill: 1,
                fill_interval: Duration::from_secs(1),
            }),
            enabled: crate::snapshot::Millionths::ALL,
            enforced: crate::snapshot::Millionths::ALL,
            as_resource_exhausted: false,
            response_headers: crate::snapshot::HeaderChanges::default(),
            stat_prefix: String::new(),
            key: 7,
        };
        let buckets = Buckets::default();
        let first = buckets.get(&limit, Time(0)).unwrap();
        assert!(first.take(Time(0)));
        buckets.forget_unused();
        assert!(!buckets.get(&limit, Time(0)).unwrap().take(Time(0)));
        drop(first);
        buckets.forget_unused();
        assert!(buckets.get(&limit, Time(0)).unwrap().take(Time(0)));
    }

    proptest! {
        #[test]
        fn never_more_pass_than_size_and_rate_allow(
            most in 0u32..50, per_fill in 1u32..50, interval_ms in 50u64..5000,
            steps in proptest::collection::vec(0u64..2_000_000_000, 1..200),
        ) {
            let bucket = bucket(most, per_fill, interval_ms);
            let (mut now, mut passed) = (0, 0u64);
            for step in steps {
                now += step;
                passed += u64::from(bucket.take(Time(now)));
            }
            let per_token = interval_ms * 1_000_000 / u64::from(per_fill);
            prop_assert!(passed <= u64::from(most) + now / per_token);
        }
    }
}
