//! The part of the configuration that concerns FreeSWITCH.

use crate::acd::feature::FeatureCodes;
use crate::acd::settings::Language;

/// The part of the configuration that commands and events use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The value that `socket_path` must have, if one is configured: it proves that the call comes from our switch.
    pub token: Option<String>,
    /// The directory domain of the agents' phones; when absent, FreeSWITCH's default domain, as for `user/ID`.
    pub domain: Option<String>,
    /// The prefixes of feature codes.
    pub codes: FeatureCodes,
    /// The directory in which FreeSWITCH finds the prompts; FreeSWITCH expands `${...}`.
    pub prompts: String,
    /// The language of prompts where no queue sets one.
    pub language: Language,
    /// Whether a number that the caller withholds is hidden from everybody.
    pub hide_withheld: bool,
}
