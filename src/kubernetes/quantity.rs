//! Amounts as Kubernetes writes them: `250m` of a CPU, `64Mi` of memory. Pure.

/// Bytes in the largest unit that shows them exactly.
pub(super) fn bytes(bytes: u64) -> String {
    for (shift, unit) in [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")] {
        let size = 1u64 << shift;
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    bytes.to_string()
}

/// CPUs in thousandths, rounded up; a wish above nothing never becomes none.
pub(super) fn cpus(cpus: f64) -> String {
    let thousandths = (cpus * 1000.0 - 1e-9).ceil().clamp(1.0, 1e9) as u64;
    if thousandths.is_multiple_of(1000) {
        (thousandths / 1000).to_string()
    } else {
        format!("{thousandths}m")
    }
}

/// The number that a text stands for; none when it is no quantity.
pub(super) fn parse(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 13] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("m", 0.001),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let (number, unit) = match UNITS.iter().find(|(unit, _)| text.ends_with(unit)) {
        Some((unit, factor)) => (text.strip_suffix(unit)?, *factor),
        None => (text, 1.0),
    };
    let is_plain = number.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e'));
    if number.is_empty() || !is_plain {
        return None;
    }
    number.parse::<f64>().ok().map(|number| number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_short() {
        assert_eq!(bytes(512 << 20), "512Mi");
        assert_eq!(bytes(3 << 29), "1536Mi");
        assert_eq!(bytes(1000), "1000");
        assert_eq!(bytes(0), "0");
        assert_eq!(cpus(0.5), "500m");
        assert_eq!(cpus(2.0), "2");
        assert_eq!(cpus(0.000_1), "1m");
        assert_eq!(cpus(0.1), "100m");
    }

    #[test]
    fn quantities_are_read_as_the_api_does() {
        assert_eq!(parse("250m"), Some(0.25));
        assert_eq!(parse("1Gi"), Some(1_073_741_824.0));
        assert_eq!(parse("5"), Some(5.0));
        for wrong in ["", "1gb", "Mi", "a", "1 Gi"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
