//! How much load each priority gets, by how many of its hosts are healthy or degraded (Envoy: "Priority levels",
//! "Degraded endpoints", "Panic threshold").
use super::Availability;

/// The hosts of one priority, counted; weights instead where the assignment says `weighted_priority_health`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LevelHealth {
    pub hosts: u64,
    pub healthy: u64,
    pub degraded: u64,
    /// What health is measured in: hosts, or their weights.
    pub total_weight: u64,
    pub healthy_weight: u64,
    pub degraded_weight: u64,
    /// In percent.
    pub overprovisioning: u32,
}

/// Percent of the load by priority; together 100.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// For healthy hosts.
    pub healthy: Vec<u32>,
    /// For degraded ones.
    pub degraded: Vec<u32>,
    /// Which priorities are in panic: all their hosts are used, whatever their health.
    pub panic: Vec<bool>,
}

impl LevelHealth {
    fn percent(&self, part: u64) -> u32 {
        match self.total_weight {
            0 => 0,
            total => (u64::from(self.overprovisioning) * part / total).min(100) as u32,
        }
    }

    fn is_in_panic(&self, threshold: u32) -> bool {
        let percent = |n: u64| if self.hosts == 0 { 0.0 } else { 100.0 * n as f64 / self.hosts as f64 };
        percent(self.healthy) + percent(self.degraded) < f64::from(threshold)
    }
}

impl Loads {
    /// The loads of priorities. `panic_threshold` in percent; 0 means never panic.
    pub fn of(levels: &[LevelHealth], panic_threshold: f64) -> Loads {
        let threshold = panic_threshold.round().clamp(0.0, 100.0) as u32;
        let healthy: Vec<u32> = levels.iter().map(|l| l.percent(l.healthy_weight)).collect();
        let degraded: Vec<u32> = levels.iter().map(|l| l.percent(l.degraded_weight)).collect();
        let available = (healthy.iter().sum::<u32>() + degraded.iter().sum::<u32>()).min(100);
        let mut loads = Loads::nothing(levels.len());
        if available > 0 {
            loads.spread(&healthy, &degraded, available);
        } else if threshold == 0 {
            // Nothing can be reached; somebody must be asked for the answer "no host" to be found.
            loads.give_first();
            return loads;
        }
        for (panic, level) in loads.panic.iter_mut().zip(levels) {
            *panic = available < 100 && level.is_in_panic(threshold);
        }
        if loads.panic.iter().all(|panic| *panic) {
            loads.spread_by_hosts(levels);
        }
        loads
    }

    /// The priority that a number from chance or a hash leads to, and which of its hosts are meant.
    pub fn choose(&self, number: u64) -> (usize, Availability) {
        let wanted = (number % 100 + 1) as u32;
        let mut sum = 0;
        for (loads, kind) in
            [(&self.healthy, Availability::Healthy), (&self.degraded, Availability::Degraded)]
        {
            for (priority, load) in loads.iter().enumerate() {
                sum += load;
                if wanted <= sum {
                    return (priority, kind);
                }
            }
        }
        (0, Availability::Healthy)
    }

    fn nothing(len: usize) -> Loads {
        Loads { healthy: vec![0; len], degraded: vec![0; len], panic: vec![false; len] }
    }

    fn give_first(&mut self) {
        if let Some(first) = self.healthy.first_mut() {
            *first = 100;
        }
    }

    fn spread(&mut self, healthy: &[u32], degraded: &[u32], available: u32) {
        let rest = hand_out(&mut self.healthy, healthy, 100, available);
        let rest = hand_out(&mut self.degraded, degraded, rest, available);
        // What rounding left goes to the first priority that can take any.
        if let Some(first) = healthy.iter().position(|h| *h > 0) {
            self.healthy[first] += rest;
        } else if let Some(first) = degraded.iter().position(|d| *d > 0) {
            self.degraded[first] += rest;
        }
    }

    /// All are in panic: by the number of hosts, healthy or not.
    fn spread_by_hosts(&mut self, levels: &[LevelHealth]) {
        let hosts: u64 = levels.iter().map(|l| l.hosts).sum();
        self.degraded.fill(0);
        self.healthy.fill(0);
        if hosts == 0 {
            return self.give_first();
        }
        for (load, level) in self.healthy.iter_mut().zip(levels) {
            *load = (100 * level.hosts / hosts) as u32;
        }
        let rest = 100 - self.healthy.iter().sum::<u32>();
        if let Some(first) = levels.iter().position(|l| l.hosts > 0) {
            self.healthy[first] += rest;
        }
    }
}

fn hand_out(loads: &mut [u32], availability: &[u32], mut rest: u32, available: u32) -> u32 {
    for (load, percent) in loads.iter_mut().zip(availability) {
        *load = rest.min(percent * 100 / available);
        rest -= *load;
    }
    rest
}
