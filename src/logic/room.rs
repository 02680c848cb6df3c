//! Whether the disk that Docker's images are on has room for more. Told of measurements and of what
//! did not fit; never measures.

/// Below so many bytes, or the twentieth part of a small disk, it is full.
const SCARCE: u64 = 1 << 30;

/// What is free on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// For whoever is not root.
    pub free: u64,
    /// In all.
    pub size: u64,
}

impl Space {
    fn scarce(self) -> u64 {
        SCARCE.min(self.size / 20)
    }
}

/// Remembers, so that a disk at the limit is not full and not full in turn.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    full: bool,
    /// Free when something did not fit.
    refused: Option<u64>,
}

impl Room {
    /// Takes in a measurement; says whether the disk is full.
    pub fn measured(&mut self, space: Space) -> bool {
        let scarce = space.scarce();
        if self.refused.is_some_and(|free| space.free >= free.saturating_add(scarce)) {
            self.refused = None;
        }
        let enough = if self.full { scarce.saturating_mul(2) } else { scarce };
        self.full = self.refused.is_some() || space.free < enough;
        self.full
    }

    /// Something did not fit: full until there is more room than now.
    pub fn refused(&mut self, space: Space) -> bool {
        self.refused = Some(space.free);
        self.measured(space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn of_100_gib(free: u64) -> Space {
        Space { free, size: 100 * GIB }
    }

    #[test]
    fn row_21_a_disk_is_full_below_a_gibibyte_until_there_are_two() {
        let mut room = Room::default();
        assert!(!room.measured(of_100_gib(GIB)));
        assert!(room.measured(of_100_gib(GIB - 1)));
        assert!(room.measured(of_100_gib(2 * GIB - 1)));
        assert!(!room.measured(of_100_gib(2 * GIB)));
        assert!(!room.measured(of_100_gib(GIB)));
    }

    #[test]
    fn row_21_a_small_disk_is_full_at_the_twentieth_part() {
        let of_2_gib = |free| Space { free, size: 2 * GIB };
        let mut room = Room::default();
        assert!(!room.measured(of_2_gib(GIB / 10)));
        assert!(room.measured(of_2_gib(GIB / 10 - 10)));
    }

    #[test]
    fn row_21_what_did_not_fit_once_needs_more_room_than_there_was() {
        let mut room = Room::default();
        assert!(room.refused(of_100_gib(30 * GIB)), "an image of 40 GiB");
        assert!(room.measured(of_100_gib(30 * GIB)));
        assert!(room.measured(of_100_gib(31 * GIB - 1)));
        assert!(!room.measured(of_100_gib(31 * GIB)));
    }
}
