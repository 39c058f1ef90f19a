//! The structs that `config` and serde fill from file and environment: values of the right type, not yet validated.
//!
//! Every field is optional: required keys are checked only after all layers are merged, and invalid values are left out
//! here so that the rest can still be checked. No struct has a `Debug`, because they contain passwords.

use serde::Deserialize;

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) listen: Option<String>,
    pub(super) allow: Option<Vec<Option<String>>>,
    pub(super) token: Option<String>,
    pub(super) freeswitch: Option<Vec<Option<RawSwitch>>>,
    pub(super) state: Option<String>,
    pub(super) keep_days: Option<f64>,
    pub(super) control: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) prompts: Option<String>,
    pub(super) languages: Option<Vec<Option<String>>>,
    pub(super) language: Option<String>,
    pub(super) feature_codes: Option<RawFeatureCodes>,
    pub(super) callers: Option<RawCallers>,
    pub(super) log: Option<RawLog>,
    pub(super) agents: Option<Vec<Option<RawAgent>>>,
    pub(super) queues: Option<Vec<Option<RawQueue>>>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSwitch {
    pub(super) address: Option<String>,
    pub(super) password: Option<String>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawFeatureCodes {
    pub(super) login: Option<String>,
    pub(super) logout: Option<String>,
    pub(super) toggle: Option<bool>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCallers {
    pub(super) withheld: Option<String>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) numbers: Option<String>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAgent {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) dial: Option<String>,
    pub(super) follow_forwards: Option<bool>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawQueue {
    pub(super) number: Option<String>,
    pub(super) name: Option<String>,
    pub(super) strategy: Option<String>,
    pub(super) participants: Option<Vec<Option<String>>>,
    pub(super) max_wait_minutes: Option<f64>,
    pub(super) wrap_up_seconds: Option<f64>,
    pub(super) ring_seconds: Option<f64>,
    pub(super) ring_at_most: Option<f64>,
    pub(super) head_start_seconds: Option<f64>,
    pub(super) music: Option<String>,
    pub(super) language: Option<String>,
    pub(super) position_announcement: Option<RawAnnouncement>,
    pub(super) timeout: Option<RawTimeout>,
    pub(super) max_callers: Option<f64>,
    pub(super) full: Option<RawTimeout>,
    pub(super) max_conversations: Option<f64>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAnnouncement {
    pub(super) language: Option<String>,
    pub(super) every_seconds: Option<f64>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTimeout {
    pub(super) message: Option<String>,
    pub(super) action: Option<RawAction>,
}

/// `hangup`, or a mapping with one key.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(untagged)]
pub(super) enum RawAction {
    Word(String),
    Onward(RawOnward),
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOnward {
    pub(super) transfer: Option<String>,
    pub(super) queue: Option<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::schema::{
        ACTION, AGENT, ANNOUNCEMENT, CALLERS, FEATURE_CODES, FILE, Field, LOG, QUEUE, SWITCH, TIMEOUT,
    };
    use super::*;

    fn agree<T: Default + serde::Serialize>(fields: &[Field]) {
        let value = serde_json::to_value(T::default()).unwrap();
        let filled: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let described: BTreeSet<&str> = fields.iter().map(|field| field.key).collect();
        assert_eq!(filled, described);
    }

    #[test]
    fn q2_the_table_of_keys_agrees_with_the_structs() {
        agree::<Raw>(FILE);
        agree::<RawSwitch>(SWITCH);
        agree::<RawFeatureCodes>(FEATURE_CODES);
        agree::<RawCallers>(CALLERS);
        agree::<RawLog>(LOG);
        agree::<RawAgent>(AGENT);
        agree::<RawQueue>(QUEUE);
        agree::<RawAnnouncement>(ANNOUNCEMENT);
        agree::<RawTimeout>(TIMEOUT);
        agree::<RawOnward>(ACTION);
    }
}
