//! Limits of containers that are there: changed as Docker changes them, or not at all. Kills nobody.

use super::{FakeHost, refused};
use crate::docker::EngineError;
use crate::model::{Limits, MemoryLimit, Resize};

/// Docker gives no container less memory, in bytes.
const MEMORY_MIN: u64 = 6 << 20;

impl FakeHost {
    /// As [`Engine::resize`](crate::docker::Engine::resize).
    pub fn resize(&mut self, id: &str, to: &Resize) -> Result<(), EngineError> {
        self.check()?;
        let action = format!("change the limits of container `{id}`");
        let most = self.info.cpu_millis;
        if to.cpu_millis.is_some_and(|millis| !(10..=most).contains(&millis)) {
            return Err(refused(&action, 400, "range of CPUs is from 0.01 to all of them"));
        }
        let is_wrong = |memory: &MemoryLimit| {
            let total = u64::try_from(memory.with_swap).unwrap_or(u64::MAX);
            memory.limit < MEMORY_MIN || total < memory.limit || memory.reserved > memory.limit
        };
        if to.memory.as_ref().is_some_and(is_wrong) {
            return Err(refused(&action, 400, "the limits of memory and swap do not go together"));
        }
        let fixed = self.fixed_limits;
        match self.container_mut(id, &action) {
            Ok(_) if fixed => Err(refused(&action, 500, "the cgroup does not take it")),
            Ok(container) => {
                let Limits { cpu_millis, memory } = container.limits;
                container.limits = Limits {
                    cpu_millis: to.cpu_millis.or(cpu_millis),
                    memory: to.memory.map(|memory| memory.limit).or(memory),
                };
                self.version += 1;
                Ok(())
            }
            Err(EngineError::Refused { status: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// From now on no limit of a container can be changed.
    pub fn fix_limits(&mut self, fixed: bool) {
        self.fixed_limits = fixed;
    }
}
