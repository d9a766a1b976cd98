//! Earliest deadline first: weighted round robin with weights that may change from pick to pick.
use crate::rng::Rng;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

#[derive(Clone, Debug)]
struct Due {
    deadline: f64,
    /// Among equal deadlines the one that waits longest is first.
    order: u64,
    member: u32,
}

impl Ord for Due {
    /// The greatest is the one that is due first.
    fn cmp(&self, other: &Due) -> Ordering {
        other.deadline.total_cmp(&self.deadline).then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

/// A schedule of members, each with a weight above 0. A pick costs O(log n) and allocates nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edf {
    queue: BinaryHeap<Due>,
    order: u64,
}

/// The least weight that is reckoned with.
const LEAST: f64 = 1e-9;

impl Edf {
    /// A schedule of members 0, 1, … with these weights; those of weight 0 are not in it. It begins somewhere in its round, so that threads and processes
    /// do not all begin at the same member.
    pub fn new(weights: &[f64], rng: &mut Rng) -> Edf {
        let mut edf = Edf::default();
        for (member, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            edf.queue.push(Due {
                deadline: 1.0 / weight.max(LEAST),
                order: edf.order,
                member: member as u32,
            });
            edf.order += 1;
        }
        for _ in 0..rng.below(2 * weights.len().max(1) as u64) {
            edf.pick(|member| weights[member as usize]);
        }
        edf
    }

    /// The next member; `weight` tells what it weighs now.
    pub fn pick(&mut self, weight: impl Fn(u32) -> f64) -> Option<u32> {
        let mut first = self.queue.peek_mut()?;
        let member = first.member;
        first.deadline += 1.0 / weight(member).max(LEAST);
        first.order = self.order;
        self.order += 1;
        // Dropping the guard puts the member in its new place.
        drop(first);
        Some(member)
    }
}
