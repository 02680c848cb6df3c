//! What one load may use in all, over all its files. A limit of each file alone is none: a short file
//! can name a thousand others.

/// Bytes of all files read.
pub(crate) const READ_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of all values that variables were filled into.
pub(crate) const FILLED_BYTES_MAX: usize = 24 * 1024 * 1024;
/// Bytes of all files of variables, each counted for every service that reads it.
pub(crate) const VARIABLE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Values copied by `extends` and into `pre_start`.
pub(crate) const COPIED_NODES_MAX: usize = 400_000;
/// Ports of all services, ranges counted out: a line of ten bytes can name all there are.
pub(crate) const PORTS_MAX: usize = 100_000;
/// Bytes of key paths whose places are remembered.
pub(crate) const PATH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Something that is used up.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Option<usize>,
}

impl Budget {
    pub(crate) fn new(most: usize) -> Self {
        Self { left: Some(most) }
    }

    /// Uses some of it. False once there was too little, and from then on.
    pub(crate) fn take(&mut self, n: usize) -> bool {
        self.left = self.left.and_then(|left| left.checked_sub(n));
        self.left.is_some()
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.left.is_none()
    }
}

/// The budgets of one load.
#[derive(Debug)]
pub(crate) struct Budgets {
    pub(crate) read: Budget,
    pub(crate) filled: Budget,
    pub(crate) variables: Budget,
    pub(crate) copied: Budget,
    pub(crate) ports: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            read: Budget::new(READ_BYTES_MAX),
            filled: Budget::new(FILLED_BYTES_MAX),
            variables: Budget::new(VARIABLE_BYTES_MAX),
            copied: Budget::new(COPIED_NODES_MAX),
            ports: Budget::new(PORTS_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_of_too_many_bytes_is_refused_where_it_names_the_file_that_is_too_much() {
        const FILE_BYTES: usize = 15 * 1024 * 1024;
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("big.yaml", &format!("services: {{}}\n# {}\n", "x".repeat(FILE_BYTES)));
        let n_files = READ_BYTES_MAX / FILE_BYTES + 1;
        write("compose.yaml", &format!("include:\n{}", "  - big.yaml\n".repeat(n_files)));
        let options = crate::compose::LoadOptions {
            working_directory: folder.path().to_owned(),
            ..Default::default()
        };
        let failed = crate::compose::load(&options).unwrap_err();
        let [error] = &failed.diagnostics[..] else { panic!("{failed}") };
        assert!(error.message.contains("larger than 64 MiB"), "{failed}");
        assert_eq!(error.location.as_ref().map(|at| at.line as usize), Some(n_files + 1));
        assert!(error.hint.is_some(), "{failed}");
    }

    #[test]
    fn a_budget_that_was_passed_stays_spent() {
        let mut budget = Budget::new(10);
        assert!(budget.take(4) && budget.take(6) && !budget.is_spent());
        assert!(!budget.take(1) && !budget.take(0) && budget.is_spent());
    }
}
