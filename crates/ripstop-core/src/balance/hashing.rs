//! Consistent hashing: the tables that ring hash and Maglev pick from, built as Envoy builds them, so that a key leads to
//! the same endpoint through either proxy.
use super::host_set::HostEntry;
use crate::snapshot::{Balancer, MetadataValue};
use std::io::Write;
use twox_hash::XxHash64;

/// Normalised weights: entry of the set and its share of the whole.
pub(crate) type Shares = Vec<(u32, f64)>;

/// Keys to endpoints of one priority.
#[derive(Debug)]
pub(crate) enum HashTable {
    /// Hash and entry, by hash.
    Ring(Vec<(u64, u32)>),
    /// Entry by slot.
    Maglev(Vec<u32>),
}

impl HashTable {
    /// The table that a balancer needs; None for balancers that do not hash.
    pub fn build(balancer: &Balancer, entries: &[HostEntry], shares: &Shares) -> Option<HashTable> {
        match *balancer {
            Balancer::RingHash { min_size, max_size, use_hostname } => {
                Some(HashTable::Ring(ring(entries, shares, (min_size, max_size), use_hostname)))
            }
            Balancer::Maglev { table_size, use_hostname } => {
                Some(HashTable::Maglev(maglev(entries, shares, table_size, use_hostname)))
            }
            _ => None,
        }
    }

    /// The entry of a key. Later attempts lead elsewhere (Envoy: as if the host were not in the ring).
    pub fn find(&self, hash: u64, attempt: u32) -> Option<u32> {
        match self {
            HashTable::Ring(ring) => {
                let at = ring.partition_point(|(point, _)| *point < hash) + attempt as usize;
                ring.get(at % ring.len().max(1)).map(|(_, entry)| *entry)
            }
            HashTable::Maglev(slots) => {
                let hash = if attempt == 0 { hash } else { hash ^ (!0 - u64::from(attempt) + 1) };
                slots.get((hash % slots.len().max(1) as u64) as usize).copied()
            }
        }
    }

    /// The first entry from the key's place on for which `is_usable` holds: what a table without the others would give.
    pub fn find_usable(&self, hash: u64, is_usable: impl Fn(u32) -> bool) -> Option<u32> {
        match self {
            HashTable::Ring(ring) => {
                let at = ring.partition_point(|(point, _)| *point < hash);
                let around = ring[at..].iter().chain(&ring[..at]);
                around.map(|(_, entry)| *entry).find(|entry| is_usable(*entry))
            }
            HashTable::Maglev(slots) => {
                let at = (hash % slots.len().max(1) as u64) as usize;
                slots.get(at..)?.iter().chain(&slots[..at]).copied().find(|entry| is_usable(*entry))
            }
        }
    }
}

/// What is hashed of an endpoint: `hash_key` of its `envoy.lb` metadata, else its host name or address.
fn key(entry: &HostEntry, use_hostname: bool) -> &str {
    if let Some(MetadataValue::Text(key)) = entry.metadata.get("envoy.lb", &["hash_key"])
        && !key.is_empty()
    {
        return key;
    }
    if use_hostname { &entry.host.hostname } else { &entry.host.address_text }
}

/// A ring: each endpoint has points at the hashes of `key_0`, `key_1`, … in proportion to its weight.
fn ring(
    entries: &[HostEntry],
    shares: &Shares,
    (min, max): (u64, u64),
    use_hostname: bool,
) -> Vec<(u64, u32)> {
    let least = shares.iter().map(|(_, share)| *share).fold(1.0, f64::min);
    if shares.is_empty() || least <= 0.0 {
        return Vec::new();
    }
    // So many points that the lightest endpoint gets a whole number of them.
    let scale = ((least * min as f64).ceil() / least).min(max as f64);
    let mut points = Vec::with_capacity(scale.ceil() as usize);
    let (mut made, mut target) = (0.0, 0.0);
    let mut text = Vec::new();
    for (entry, share) in shares {
        text.clear();
        text.extend_from_slice(key(&entries[*entry as usize], use_hostname).as_bytes());
        text.push(b'_');
        let start = text.len();
        target += scale * share;
        let mut number = 0u64;
        while made < target {
            text.truncate(start);
            let _ = write!(text, "{number}");
            points.push((XxHash64::oneshot(0, &text), *entry));
            number += 1;
            made += 1.0;
        }
    }
    points.sort_by_key(|(point, _)| *point);
    points
}

struct Filler<'a> {
    key: &'a str,
    entry: u32,
    share: f64,
    target: f64,
    offset: u64,
    skip: u64,
    next: u64,
}

/// Maglev's table (Eisenbud and others, 2016, listing 1) with weights as Envoy adds them.
fn maglev(entries: &[HostEntry], shares: &Shares, size: u64, use_hostname: bool) -> Vec<u32> {
    let most = shares.iter().map(|(_, share)| *share).fold(0.0, f64::max);
    if size < 2 || most <= 0.0 {
        return Vec::new();
    }
    let mut fillers: Vec<Filler> = shares.iter().map(|s| filler(entries, s, size, use_hostname)).collect();
    fillers.sort_by(|a, b| a.key.cmp(b.key));
    const FREE: u32 = u32::MAX;
    let mut slots = vec![FREE; size as usize];
    let mut filled = 0;
    let mut round = 0.0;
    while filled < size {
        round += 1.0;
        for filler in &mut fillers {
            if filled == size {
                break;
            }
            if round * filler.share < filler.target {
                continue;
            }
            filler.target += most;
            let slot = loop {
                let slot = ((filler.offset + filler.skip * filler.next) % size) as usize;
                filler.next += 1;
                if slots[slot] == FREE {
                    break slot;
                }
            };
            slots[slot] = filler.entry;
            filled += 1;
        }
    }
    slots
}

fn filler<'a>(
    entries: &'a [HostEntry],
    &(entry, share): &(u32, f64),
    size: u64,
    use_hostname: bool,
) -> Filler<'a> {
    let key = key(&entries[entry as usize], use_hostname);
    let offset = XxHash64::oneshot(0, key.as_bytes()) % size;
    let skip = XxHash64::oneshot(1, key.as_bytes()) % (size - 1) + 1;
    Filler { key, entry, share, target: 0.0, offset, skip, next: 0 }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assignment, cluster, endpoint, group};
    use super::super::{ClusterState, HostSet, PickContext, Picker};
    use super::*;
    use crate::rng::Rng;
    use crate::snapshot::{Address, EndpointConfig};
    use crate::time::Time;

    fn ring(min_size: u64, max_size: u64) -> Balancer {
        Balancer::RingHash { min_size, max_size, use_hostname: false }
    }

    fn maglev(table_size: u64) -> Balancer {
        Balancer::Maglev { table_size, use_hostname: false }
    }

    /// Recorded from Envoy 1.40: endpoints 127.0.0.1:18081 to :18085 with these weights; `hash_policy` by a header with the
    /// values `key-0`, `key-1`, …; the last digit of the port that each went to.
    #[test]
    fn keys_lead_where_envoy_leads_them() {
        for (balancer, weights, expected) in [
            (
                ring(1024, 8 << 20),
                [1, 1, 1, 1, 1],
                "522542211351314342534222423355434413244311345353145231532154422323421322152112553342415541",
            ),
            (
                ring(1024, 8 << 20),
                [1, 2, 3, 4, 5],
                "532545211351344342544242523355434414244313335353145434532454425323422354354545553342425541",
            ),
            (
                ring(100, 150),
                [3, 1, 1, 1, 1],
                "511112111221123222114334351153141113211214152124131111221121232221313154151221222234332151",
            ),
            (
                maglev(65537),
                [1, 1, 1, 1, 1],
                "555124322132213244143542533254532325245152422232415345251551215412311331115324533154224313",
            ),
            (
                maglev(65537),
                [1, 2, 3, 4, 5],
                "555424522552233244343545535254532525245552422235555345251551215452345331515524533154224313",
            ),
            (
                maglev(251),
                [1, 2, 3, 4, 5],
                "543455214555325415354455443253543455545544212344454332255544235544544451455155445544414354",
            ),
        ] {
            let at = |(port, weight): (u16, u32)| EndpointConfig {
                address: Address::Socket(([127, 0, 0, 1], port).into()),
                ..endpoint(0, weight)
            };
            let cluster = cluster(balancer);
            let endpoints = (18081..).zip(weights).map(at).collect();
            let set = HostSet::build(&cluster, &assignment(vec![group(0, None, endpoints)]), None, Time(1));
            let (mut picker, state, mut rng) = (Picker::new(&cluster), ClusterState::default(), Rng::new(1));
            let mut pick = |key: usize| {
                let hash = Some(XxHash64::oneshot(0, format!("key-{key}").as_bytes()));
                let context = PickContext { hash, ..Default::default() };
                let entry = picker.pick(&set, &state, &context, &mut rng).unwrap();
                entry.host.address_text.chars().last().unwrap()
            };
            let found: String = (0..expected.len()).map(&mut pick).collect();
            assert_eq!(found, expected, "{:?} {weights:?}", cluster.balancer);
        }
    }
}
