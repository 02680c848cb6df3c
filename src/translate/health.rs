//! Health checks.

use super::scope::millis;
use crate::compose::project::Service;
use crate::model::HealthSpec;

/// The health check of a service; none means the image's.
pub(super) fn convert(service: &Service) -> Option<HealthSpec> {
    let check = service.healthcheck.as_ref()?;
    if check.disable {
        return Some(HealthSpec { test: Some(vec!["NONE".to_owned()]), ..HealthSpec::default() });
    }
    Some(HealthSpec {
        test: check.test.clone().filter(|words| !words.is_empty()),
        interval_ms: check.interval.map(millis),
        timeout_ms: check.timeout.map(millis),
        retries: check.retries,
        start_period_ms: check.start_period.map(millis),
        start_interval_ms: check.start_interval.map(millis),
    })
}
