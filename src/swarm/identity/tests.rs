//! An identity survives its file, stays private, and is refused when it does not fit together.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// Some day in 2026.
const NOW: WallSeconds = WallSeconds(1_790_000_000);

impl Identity {
    /// A stranger with a good certificate in another role.
    pub(in crate::swarm) fn with_role(&self, role: &str, now: WallSeconds) -> Self {
        let key = HostKey::make().unwrap();
        let subject = Subject { role, ..Subject::member(&self.inner.cluster) };
        let leaf = self.inner.authority.sign(&key.0, &subject, now).unwrap();
        let (cluster, authority) = self.succession().read().unwrap();
        Self::assemble(key, leaf, cluster, authority)
    }

    /// This host with a certificate that names the cluster and was signed by somebody else.
    pub(in crate::swarm) fn forged(&self, now: WallSeconds) -> Self {
        let key = HostKey::make().unwrap();
        let other = Authority::make(now).unwrap();
        let certificate = self.inner.authority.certificate.clone();
        let forger = Authority { certificate, ..other };
        let leaf = forger.sign(&key.0, &Subject::member(&self.inner.cluster), now).unwrap();
        Self::assemble(key, leaf, self.inner.cluster.clone(), forger)
    }
}

fn found(dir: &Path) -> Result<Identity, IdentityError> {
    let identity = Identity::make(NOW)?;
    identity.save(dir)?;
    Ok(identity)
}

#[test]
fn an_identity_is_the_same_after_it_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Identity::load(dir.path()).unwrap().is_none());
    let made = found(dir.path()).unwrap();
    let kept = Identity::load(dir.path()).unwrap().unwrap();
    assert_eq!(made.host(), kept.host());
    assert_eq!(made.cluster(), kept.cluster());
    assert_eq!(made.chain(), kept.chain());
    assert_eq!(made.host().as_str().len(), 16);
    assert_eq!(made.cluster().len(), 16);
    assert_eq!(made.derived_secret("x"), kept.derived_secret("x"));
    assert_ne!(made.derived_secret("x"), made.derived_secret("y"));
}

#[test]
fn the_file_is_its_owners_alone_and_nothing_is_left_beside() {
    let dir = tempfile::tempdir().unwrap();
    // A crash left this, readable by all.
    std::fs::write(dir.path().join("identity.new"), "x").unwrap();
    found(dir.path()).unwrap();
    let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn an_identity_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let first = found(dir.path()).unwrap();
    let error = found(dir.path()).unwrap_err();
    assert!(matches!(error, IdentityError::Exists { .. }), "{error:?}");
    assert_eq!(Identity::load(dir.path()).unwrap().unwrap().host(), first.host());
}

#[test]
fn a_damaged_file_is_told() {
    let dir = tempfile::tempdir().unwrap();
    found(dir.path()).unwrap();
    let path = dir.path().join(FILE);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() - 1 {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = Identity::load(dir.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Broken { .. }), "{length}: {error:?}");
    }
    std::fs::write(&path, "{\"format\": 3}").unwrap();
    let error = Identity::load(dir.path()).unwrap_err();
    assert!(matches!(error, IdentityError::Newer { format: 3, .. }), "{error:?}");
}

#[test]
fn parts_of_two_identities_do_not_fit_together() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    found(one.path()).unwrap();
    found(two.path()).unwrap();
    let read = |dir: &tempfile::TempDir| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(dir.path().join(FILE)).unwrap()).unwrap()
    };
    let (first, second) = (read(&one), read(&two));
    for part in ["key", "certificate", "authority_key", "authority_certificate"] {
        let mut mixed = first.clone();
        mixed[part] = second[part].clone();
        std::fs::write(one.path().join(FILE), mixed.to_string()).unwrap();
        let error = Identity::load(one.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Broken { .. }), "{part}: {error:?}");
    }
}

#[test]
fn the_words_for_logs_hold_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let identity = found(dir.path()).unwrap();
    let words = format!("{identity:?}");
    assert!(!words.contains(&BASE64.encode(identity.inner.key.serialized_der())), "{words}");
    assert!(words.contains(identity.host().as_str()), "{words}");
}

#[test]
fn row_35_a_certificate_is_renewed_at_half_its_life_and_whenever_its_dates_are_wrong() {
    const DAY: u64 = 24 * 3600;
    let identity = Identity::make(NOW).unwrap();
    let at = |identity: &Identity, days: i64| {
        let now = NOW.0.checked_add_signed(days * DAY as i64).unwrap();
        identity.renewed(WallSeconds(now)).unwrap()
    };
    for days in [0, 1, 14] {
        assert!(at(&identity, days).is_none(), "{days}");
    }
    // Half its life, its end, years without power, a clock that was wrong when it was made.
    for days in [15, 31, 5 * 365, -2] {
        let renewed = at(&identity, days).unwrap_or_else(|| panic!("{days}"));
        assert_eq!(renewed.host(), identity.host());
        assert_eq!(renewed.cluster(), identity.cluster());
        assert!(at(&renewed, days).is_none(), "{days}");
        let (begins, ends) = crate::swarm::tls::validity(&renewed.inner.certificate).unwrap();
        let now = NOW.0.checked_add_signed(days * DAY as i64).unwrap();
        assert_eq!((now - begins, ends - now), (DAY, 30 * DAY));
    }
    assert!(identity.renewed(WallSeconds(3600)).unwrap().is_none(), "1970: no time to go by");
    let dir = tempfile::tempdir().unwrap();
    identity.save(dir.path()).unwrap();
    let renewed = at(&identity, 20).unwrap();
    renewed.replace(dir.path()).unwrap();
    assert_eq!(Identity::load(dir.path()).unwrap().unwrap().chain(), renewed.chain());
}
