//! Which variables and files hold what nobody should read in a repository. A guess by names and
//! forms; what it decides is listed in the report, so that a person can judge it. Pure.
//!
//! A variable is taken for a secret when
//! - a word of its name says so (`PASSWORD`, `TOKEN`, `SECRET`, `API_KEY`, …) and the value can be
//!   one: it is no switch, no number below six digits and no path of a file, or
//! - its value is an address with a password in it (`postgres://user:password@db/`), or
//! - its value holds a private key.

use crate::compose::project::Project;

/// Words of names. They are looked for as whole words between `_`, `-` and `.`, or at the end.
const WORDS: &[&str] = &[
    "PASSWORD",
    "PASSWD",
    "PASSWORDS",
    "PASS",
    "PWD",
    "PASSPHRASE",
    "SECRET",
    "SECRETS",
    "TOKEN",
    "TOKENS",
    "APIKEY",
    "CREDENTIAL",
    "CREDENTIALS",
    "SALT",
    "PEPPER",
    "PAT",
    "HTPASSWD",
];
/// Words that make one of [`KEYS`] a secret.
const KEYS: &[&str] = &[
    "API",
    "PRIVATE",
    "ACCESS",
    "SECRET",
    "ENCRYPTION",
    "SIGNING",
    "MASTER",
    "APP",
    "AUTH",
    "JWT",
    "LICENSE",
    "SESSION",
    "COOKIE",
    "SSH",
    "DEPLOY",
    "CLIENT",
    "ENC",
    "CRYPTO",
    "HMAC",
    "AES",
    "SERVICE",
    "ANON",
    "ADMIN",
    "WEBHOOK",
    "BASE",
    "RSA",
    "SERVICEROLE",
    "ROLE",
];
/// Words behind which the name says where or how, not what.
const NOT_AFTER: &[&str] = &[
    "FILE",
    "PATH",
    "DIR",
    "NAME",
    "TTL",
    "EXPIRY",
    "EXPIRATION",
    "EXPIRE",
    "EXPIRES",
    "LENGTH",
    "ENABLED",
    "ENABLE",
    "DISABLED",
    "URL",
    "URI",
    "HOST",
    "TYPE",
    "ALGORITHM",
    "LIFETIME",
    "TIMEOUT",
    "HEADER",
    "POLICY",
    "MIN",
    "MAX",
    "AGE",
    "REQUIRED",
    "ISSUER",
    "DURATION",
    "ROUNDS",
];
/// Words at the end of a value's file name.
const FILES: &[&str] = &[".pem", ".key", ".p12", ".pfx", ".jks", ".htpasswd", ".keystore"];

/// Whether a variable is a secret.
pub(super) fn is_variable(name: &str, value: &str) -> bool {
    if value.trim().is_empty() {
        return false;
    }
    if has_password(value) || value.contains("PRIVATE KEY-----") {
        return true;
    }
    says_secret(name) && can_be_secret(value)
}

/// Secrets of a project that are long and odd enough to be looked for inside other values.
pub(super) fn values(project: &Project) -> Vec<String> {
    let services = project.services.values();
    let of_services = services.flat_map(|service| {
        let set = service.environment.iter();
        set.filter_map(|(name, value)| Some((name, value.as_ref()?)))
    });
    let mut found: Vec<String> = project
        .environment
        .iter()
        .chain(of_services)
        .filter(|(name, value)| says_secret(name) && can_be_secret(value))
        .filter(|(_, value)| value.len() >= 8 && !value.chars().all(|c| c.is_ascii_lowercase()))
        .map(|(_, value)| value.clone())
        .collect();
    found.sort();
    found.dedup();
    found
}

fn says_secret(name: &str) -> bool {
    let words = words(name);
    let Some(last) = words.last() else { return false };
    if NOT_AFTER.contains(&last.as_str()) {
        return false;
    }
    let is_word = |word: &String| {
        let one = word.as_str();
        let ends = ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "APIKEY"];
        WORDS.contains(&one) || ends.iter().any(|end| one.ends_with(end))
    };
    let is_key = |pair: &[String]| {
        let key = pair.get(1).is_some_and(|key| matches!(key.as_str(), "KEY" | "KEYS"));
        let kind = pair.first().is_some_and(|kind| KEYS.contains(&kind.as_str()));
        key && kind
    };
    words.iter().any(is_word) || words.windows(2).any(is_key)
}

/// `DB_PASSWORD`, `dbPassword` and `db-password` in capitals, cut into words.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        let starts = !c.is_ascii_alphanumeric() || (c.is_ascii_uppercase() && was_lower);
        if starts {
            words.push(String::new());
        }
        if c.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(c.to_ascii_uppercase());
        }
        was_lower = c.is_ascii_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

fn can_be_secret(value: &str) -> bool {
    let value = value.trim();
    let lower = value.to_ascii_lowercase();
    let is_switch = ["true", "false", "yes", "no", "on", "off", "none", "null"];
    let is_number = value.len() < 6 && value.bytes().all(|byte| byte.is_ascii_digit());
    let is_path = value.starts_with('/') && !value.ends_with('=');
    !is_switch.contains(&lower.as_str()) && !is_number && !is_path
}

/// Whether a text holds `scheme://user:password@`.
pub(super) fn has_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let rest = &text[at + 3..];
        let end = rest.find(['/', ' ', '"', '\'', '?', '#', ',']).unwrap_or(rest.len());
        let Some((user, _)) = rest[..end].rsplit_once('@') else { return false };
        user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
    })
}

/// Whether a file is a secret, by its path and its content.
pub(super) fn is_file(path: &str, content: &[u8]) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let lower = name.to_ascii_lowercase();
    let text = String::from_utf8_lossy(content);
    let is_public = lower.ends_with(".pub") || lower.contains("example");
    let by_name = FILES.iter().any(|end| lower.ends_with(end))
        || lower == ".env"
        || lower.starts_with(".env.")
        || says_secret(name.split('.').find(|part| !part.is_empty()).unwrap_or(name));
    (by_name && !is_public) || text.contains("PRIVATE KEY-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_name_and_form() {
        let secrets = [
            ("POSTGRES_PASSWORD", "change-me"),
            ("JWT_SECRET", "x"),
            ("API_KEY", "abc"),
            ("dbPassword", "abc"),
            ("GITHUB_TOKEN", "abc"),
            ("DATABASE_URL", "postgres://u:p@db/x"),
            ("SECRET_KEY_BASE", "abc"),
            ("MYSQL_ROOT_PASSWORD", "root"),
            ("N8N_ENCRYPTION_KEY", "abc"),
            ("ADMIN_PASS", "abc"),
            ("CERT", "-----BEGIN PRIVATE KEY-----"),
        ];
        for (name, value) in secrets {
            assert!(is_variable(name, value), "{name}={value}");
        }
        let plain = [
            ("DB_PASSWORD_FILE", "/run/secrets/p"),
            ("PASSWORD", ""),
            ("MYSQL_ALLOW_EMPTY_PASSWORD", "yes"),
            ("TOKEN_TTL", "3600"),
            ("DATABASE_URL", "postgres://db:5432/x"),
            ("KEYBOARD", "de"),
            ("KEY", "a"),
            ("COMPASS", "north"),
            ("URL", "http://a@b/c"),
            ("PASSWORD_MIN_LENGTH", "8"),
            ("BYPASS", "a"),
        ];
        for (name, value) in plain {
            assert!(!is_variable(name, value), "{name}={value}");
        }
    }

    #[test]
    fn files_are_told_by_name_and_content() {
        assert!(
            is_file("/a/tls.key", b"")
                && is_file("./.env", b"")
                && is_file("db_password.txt", b"x")
        );
        assert!(is_file("cert.txt", b"-----BEGIN RSA PRIVATE KEY-----"));
        assert!(
            !is_file("nginx.conf", b"") && !is_file("id.pub", b"") && !is_file(".env.example", b"")
        );
    }
}
