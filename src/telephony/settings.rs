//! What of the configuration concerns FreeSWITCH.

use crate::acd::feature::FeatureCodes;
use crate::acd::settings::Language;

/// What commands and events need of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What `socket_path` must say, if anything: the sign that it is our switch.
    pub token: Option<String>,
    /// The directory domain of the agents' phones; FreeSWITCH's own when absent, as it is for `user/ID`.
    pub domain: Option<String>,
    /// The prefixes of feature codes.
    pub codes: FeatureCodes,
    /// Where FreeSWITCH finds the prompts; `${...}` is expanded by FreeSWITCH.
    pub prompts: String,
    /// The language of what is said when no queue tells.
    pub language: Language,
    /// Whether a number that its caller withholds is told to nobody.
    pub hide_withheld: bool,
}
