//! What a plain scalar means: the rules of the reference loader, which no YAML library follows.
//!
//! `0644` is 420, `yes` and `22:22` are text, `1_000` is 1000, `2001-01-01` is a date.

use super::tree::Kind;

/// Resolves an unquoted scalar.
pub(crate) fn resolve_plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Kind::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Kind::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Kind::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let first = text.as_bytes()[0];
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return Kind::Text;
    }
    if is_date(text) {
        return Kind::Date;
    }
    let digits = text.replace('_', "");
    if let Some(value) = parse_int(&digits) {
        return Kind::Int(value);
    }
    if is_float(&digits)
        && let Ok(value) = digits.parse::<f64>()
    {
        return Kind::Float(value);
    }
    Kind::Text
}

/// A whole number with an optional sign and `0x`, `0o`, `0b` or octal `0` prefix.
fn parse_int(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match prefix.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(_) if digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| (byte as char).is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

/// `[-+]? (.digits | digits [. digits]) [e [-+] digits]`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_ok = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    mantissa_ok && exponent_ok
}

/// `YYYY-M-D`, alone or followed by `T`, `t` or a space and a time.
fn is_date(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((text.as_bytes()[at], &text[at + 1..]))),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    if year.len() != 4 || number(year, 0, 9999).is_none() {
        return false;
    }
    let Some(month) = number(month, 1, 12) else { return false };
    let leap = number(year, 0, 9999).is_some_and(|y| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    number(day, 1, days).is_some()
        && time.is_none_or(|(separator, time)| is_time(time, separator != b' '))
}

/// `H:M:S[.fraction]`, with `Z` or an offset when `zone` is set.
fn is_time(text: &str, zone: bool) -> bool {
    let clock = if !zone {
        text
    } else if let Some(clock) = text.strip_suffix('Z') {
        clock
    } else {
        let Some(at) = text.rfind(['+', '-']) else { return false };
        let Some((hours, minutes)) = text[at + 1..].split_once(':') else { return false };
        let two = hours.len() == 2 && minutes.len() == 2;
        if !two || number(hours, 0, 24).is_none() || number(minutes, 0, 60).is_none() {
            return false;
        }
        &text[..at]
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = parts[..] else { return false };
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    number(hour, 0, 23).is_some()
        && number(minute, 0, 59).is_some()
        && number(second, 0, 59).is_some()
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    if text.is_empty() || text.len() > 4 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value| (least..=most).contains(value))
}

/// A date as text, as the reference loader makes it: where text is wanted, and where anything may
/// stand. A text that is no date stays as it is.
pub(crate) fn date_texts(text: &str) -> [String; 2] {
    let unchanged = || [text.to_owned(), text.to_owned()];
    if !is_date(text) {
        return unchanged();
    }
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "0:0:0"));
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    let padded = |text: &str, separator: char| {
        let parts: Vec<String> = text.split(separator).map(|part| format!("{part:0>2}")).collect();
        parts.join(&separator.to_string())
    };
    let (date, clock) = (padded(date, '-'), padded(clock, ':'));
    let (name, offset) = match zone {
        "" | "Z" | "+00:00" | "-00:00" => ("+0000 UTC".to_owned(), "Z"),
        zone => (format!("{0} {0}", zone.replace(':', "")), zone),
    };
    [format!("{date} {clock}{fraction} {name}"), format!("{date}T{clock}{fraction}{offset}")]
}

/// A float as the reference loader prints it: shortest digits, an exponent from 1e21 on.
pub(crate) fn format_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Kind) {
        assert_eq!(resolve_plain(text), expected, "{text}");
    }

    #[test]
    fn whole_numbers_follow_their_prefix() {
        check("0", Kind::Int(0));
        check("0644", Kind::Int(420));
        check("0o644", Kind::Int(420));
        check("0x1F", Kind::Int(31));
        check("0b11", Kind::Int(3));
        check("1_000", Kind::Int(1000));
        check("-12", Kind::Int(-12));
        check("+12", Kind::Int(12));
        check("18446744073709551615", Kind::Int(u64::MAX.into()));
        check("08", Kind::Float(8.0));
        check("0x", Kind::Text);
    }

    #[test]
    fn floats_and_text_are_told_apart() {
        check("1.50", Kind::Float(1.5));
        check("1e3", Kind::Float(1000.0));
        check(".5", Kind::Float(0.5));
        check("1.", Kind::Float(1.0));
        check("18446744073709551616", Kind::Float(18_446_744_073_709_551_616.0));
        for text in ["1.2.3", ".", "-", "+", "1e", "22:22", "8080:80", "5s", "1.5h", "-x", "inf"] {
            check(text, Kind::Text);
        }
    }

    #[test]
    fn only_true_and_false_are_boolean() {
        check("True", Kind::Bool(true));
        check("FALSE", Kind::Bool(false));
        for text in ["yes", "no", "on", "off", "y", "n", "tRue"] {
            check(text, Kind::Text);
        }
        for text in ["", "~", "null", "Null", "NULL"] {
            check(text, Kind::Null);
        }
        check("nULL", Kind::Text);
    }

    #[test]
    fn dates_are_dates() {
        for text in ["2001-01-01", "2001-1-1", "2001-12-14t21:59:43.10-05:00", "2024-02-29 1:2:3"] {
            check(text, Kind::Date);
        }
        for text in ["2001-13-01", "2023-02-29", "01-01-2001", "2001-01", "2001-01-01Tx"] {
            check(text, Kind::Text);
        }
    }

    #[test]
    fn dates_print_as_the_reference_reads_them() {
        for (text, expected) in [
            ("2001-01-01", ["2001-01-01 00:00:00 +0000 UTC", "2001-01-01T00:00:00Z"]),
            ("2001-1-1", ["2001-01-01 00:00:00 +0000 UTC", "2001-01-01T00:00:00Z"]),
            (
                "2001-12-14t21:59:43.10-05:00",
                ["2001-12-14 21:59:43.1 -0500 -0500", "2001-12-14T21:59:43.1-05:00"],
            ),
            ("2001-12-15 2:59:43", ["2001-12-15 02:59:43 +0000 UTC", "2001-12-15T02:59:43Z"]),
            ("x", ["x", "x"]),
        ] {
            assert_eq!(date_texts(text), expected, "{text}");
        }
    }

    #[test]
    fn floats_print_their_shortest_form() {
        for (value, expected) in [
            (1.5, "1.5"),
            (1000.0, "1000"),
            (1e21, "1e+21"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (-0.0, "-0"),
        ] {
            assert_eq!(format_float(value), expected);
        }
    }
}
