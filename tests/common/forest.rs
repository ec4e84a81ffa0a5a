//! Creates random trees of PID namespaces, and injects processes into them.

use super::{Running, inject, injected_by, nest};

/// A pseudorandom number generator that produces the same sequence in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// Several trees of PID namespaces. All their processes are killed on drop.
pub struct Forest {
    nests: Vec<(Running, Vec<u32>)>,
    /// The PIDs of the init processes of all namespaces.
    pub inits: Vec<u32>,
    /// The `nsenter` processes, which run outside of the namespaces into which they injected
    /// processes.
    pub injectors: Vec<Running>,
}

impl Forest {
    /// Creates one to four chains of nested namespaces, and injects processes into random
    /// namespaces one to six times. The same seed makes the same forest.
    pub fn grow(seed: u64) -> Self {
        let mut random = Random(seed);
        let nests: Vec<_> = (0..=random.below(3)).map(|_| nest(1 + random.below(4))).collect();
        let inits: Vec<u32> = nests.iter().flat_map(|(_, inits)| inits.clone()).collect();
        let injectors = (0..=random.below(5))
            .map(|_| {
                let target = inits[random.below(inits.len())];
                // The second command leads its own session, and the third command starts a child.
                let (command, sleeps): (&[&str], _) = match random.below(3) {
                    0 => (&["sleep", "600"], 1),
                    1 => (&["setsid", "sleep", "600"], 1),
                    _ => (&["bash", "-c", "sleep 600 & sleep 600"], 2),
                };
                inject(target, command, sleeps)
            })
            .collect();
        Self { nests, inits, injectors }
    }

    /// Returns the PIDs of all injected processes.
    pub fn injected(&self) -> Vec<u32> {
        self.injectors.iter().flat_map(injected_by).collect()
    }
}
