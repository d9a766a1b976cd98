//! The algorithms: one of a group's hosts.
use super::host_set::HostEntry;
use super::view::Group;
use crate::rng::Rng;
use crate::snapshot::{Balancer, SlowStart};
use crate::time::Time;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The slow start of a balancer that has one.
pub(crate) fn slow_start(balancer: &Balancer) -> Option<SlowStart> {
    match balancer {
        Balancer::RoundRobin { slow_start } | Balancer::LeastRequest { slow_start, .. } => {
            slow_start.filter(|s| !s.window.is_zero())
        }
        _ => None,
    }
}

/// What a host weighs now: its configured weight, less by active requests (least request) and while it starts slowly.
pub(crate) fn weight(entry: &HostEntry, balancer: &Balancer, now: Time) -> f64 {
    let mut weight = f64::from(entry.weight);
    if let Balancer::LeastRequest { active_bias, .. } = balancer {
        let active = f64::from(entry.host.active_requests()) + 1.0;
        if *active_bias == 1.0 {
            weight /= active;
        } else if *active_bias != 0.0 {
            weight /= active.powf(*active_bias);
        }
    }
    match slow_start(balancer) {
        Some(slow_start) => weight * started(entry, slow_start, now),
        None => weight,
    }
}

/// The share of its weight that a host gets while it starts: `max(min, (elapsed / window) ^ (1 / aggression))`.
fn started(entry: &HostEntry, slow_start: SlowStart, now: Time) -> f64 {
    let since = entry.host.healthy_since.load(Relaxed);
    let elapsed = now.since(Time(since));
    if since == 0 || elapsed >= slow_start.window {
        return 1.0;
    }
    let share = elapsed.max(Duration::from_millis(1)).as_secs_f64() / slow_start.window.as_secs_f64();
    let aggression = if slow_start.aggression > 0.0 { slow_start.aggression } else { 1.0 };
    share.powf(1.0 / aggression).max(slow_start.min_weight_percent / 100.0)
}

/// One of the group by the balancer's algorithm; hashing is not done here.
pub(crate) fn choose(
    group: &mut Group,
    entries: &[HostEntry],
    balancer: &Balancer,
    now: Time,
    rng: &mut Rng,
) -> Option<u32> {
    let count = group.members.len();
    if count < 2 {
        return group.members.first().copied();
    }
    let Group { members, schedule, .. } = group;
    if let Some(schedule) = schedule {
        let position = schedule.pick(|m| weight(&entries[members[m as usize] as usize], balancer, now))?;
        return Some(members[position as usize]);
    }
    let active = |member: u32| entries[member as usize].host.active_requests();
    match balancer {
        Balancer::LeastRequest { full_scan: true, .. } => least_of_all(members, active, rng),
        Balancer::LeastRequest { choices, .. } => {
            let draw = |rng: &mut Rng| members[rng.below(count as u64) as usize];
            let mut best = draw(rng);
            for _ in 1..(*choices).max(2) {
                let other = draw(rng);
                if active(other) < active(best) {
                    best = other;
                }
            }
            Some(best)
        }
        Balancer::Random => Some(members[rng.below(count as u64) as usize]),
        Balancer::PeakEwma => Some(cheaper_of_two(members, entries, now, rng)),
        _ => {
            let member = members[(group.cursor % count as u64) as usize];
            group.cursor = group.cursor.wrapping_add(1);
            Some(member)
        }
    }
}

/// The least loaded of all; among equals each with the same chance.
fn least_of_all(members: &[u32], active: impl Fn(u32) -> u32, rng: &mut Rng) -> Option<u32> {
    let (&first, rest) = members.split_first()?;
    let (mut best, mut least, mut equals) = (first, active(first), 1);
    for &member in rest {
        let load = active(member);
        if load < least {
            (best, least, equals) = (member, load, 1);
        } else if load == least {
            equals += 1;
            if rng.below(equals) == 0 {
                best = member;
            }
        }
    }
    Some(best)
}

/// Of two different members the one whose expected answer is sooner: `latency * (active + 1) / weight`.
fn cheaper_of_two(members: &[u32], entries: &[HostEntry], now: Time, rng: &mut Rng) -> u32 {
    let count = members.len() as u64;
    let first = rng.below(count);
    let second = (first + 1 + rng.below(count - 1)) % count;
    let cost = |member: u32| {
        let entry = &entries[member as usize];
        let queue = f64::from(entry.host.active_requests()) + 1.0;
        entry.host.latency.nanos(now) * queue / f64::from(entry.weight)
    };
    let (a, b) = (members[first as usize], members[second as usize]);
    if cost(b) < cost(a) { b } else { a }
}
