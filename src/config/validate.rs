//! Converts raw values to domain types: every check that involves more than one value, and every default.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::checks::{known_language, optional, required, unique};
use super::environment::MOST_SWITCHES;
use super::problem::{Fault, KeyPath};
use super::raw::{Raw, RawAgent, RawCallers, RawFeatureCodes, RawLog, RawSwitch};
use super::report::Report;
use super::scalar::quoted;
use super::{Callers, Config, FeatureCodes, LogSettings, SwitchAddress, queue, text, warning};
use crate::acd::settings::{AgentSettings, Language};

/// The longest path of a Unix socket, in bytes (Linux's `sun_path` without its terminating NUL).
const LONGEST_SOCKET: usize = 107;

/// The seconds of a day.
const DAY: f64 = 86_400.0;

/// How long records are kept by default: long enough for a report to compare with the year before.
const KEEP: Duration = Duration::from_secs(400 * 86_400);

/// Checks everything, reports every problem, and builds the rest. The result is valid only if nothing was reported.
pub(super) fn config(raw: Raw, folder: &Path, report: &mut Report<'_>) -> Config {
    let top = KeyPath::Root;
    let freeswitch = switches(raw.freeswitch, &top.key("freeswitch"), report);
    let (languages, language) = languages(raw.languages, raw.language, report);
    let state = path(raw.state, "state.db", folder, &top.key("state"), report);
    let beside = state.parent().unwrap_or(folder).to_path_buf();
    let control = match raw.control {
        Some(_) => path(raw.control, "", folder, &top.key("control"), report),
        None => beside.join("freeswitch-queue.sock"),
    };
    let key = top.key("control");
    if control.as_os_str().len() > LONGEST_SOCKET {
        let what = format!("the socket's path is longer than {LONGEST_SOCKET} bytes: {}", control.display());
        report.add(&key, Fault::new(what, "choose a shorter path"));
    }
    if control == state {
        report.add(&key, Fault::new("state and control are the same file", "give each its own path"));
    }
    let local = freeswitch.iter().all(|switch| text::is_local(&switch.address));
    let (agents, ids) = agents(raw.agents, report);
    let context = queue::Context { agents: &ids, languages: &languages, language: &language, local_files: local };
    let queues = queue::queues(raw.queues, &context, report);
    let listen = optional(raw.listen, &top.key("listen"), text::listen, report)
        .unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8084)));
    let allow = networks(raw.allow, &top.key("allow"), report);
    let named = raw.token.is_some();
    let token = optional(raw.token, &top.key("token"), text::token, report);
    if !named && let Some(fault) = warning::open_to_others(&listen, &allow) {
        report.add(&top.key("listen"), fault);
    }
    Config {
        listen,
        allow,
        token,
        freeswitch,
        state,
        keep: raw
            .keep_days
            .and_then(|days| report.take(&top.key("keep_days"), text::span(days, DAY, 1.0, 3650.0, "days")))
            .unwrap_or(KEEP),
        control,
        domain: optional(raw.domain, &top.key("domain"), text::domain, report),
        prompts: optional(raw.prompts, &top.key("prompts"), text::switch_path, report)
            .map_or_else(|| "${conf_dir}/fsq/prompts".to_owned(), |path| path.trim_end_matches('/').to_owned()),
        languages,
        language,
        feature_codes: feature_codes(raw.feature_codes, report),
        callers: callers(raw.callers.unwrap_or_default(), report),
        log: log(raw.log.unwrap_or_default(), report),
        agents,
        queues,
    }
}

fn path(raw: Option<String>, default: &str, folder: &Path, key: &KeyPath<'_>, report: &mut Report<'_>) -> PathBuf {
    let checked = optional(raw, key, text::local_path, report);
    folder.join(checked.as_deref().unwrap_or(default))
}

fn networks(raw: Option<Vec<Option<String>>>, key: &KeyPath<'_>, report: &mut Report<'_>) -> Vec<IpNet> {
    let Some(list) = raw else {
        let v4 = IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8);
        return vec![v4, IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST))];
    };
    if list.is_empty() {
        report.add(
            key,
            Fault::new("nobody could connect", "add a network, or remove the key to allow only this machine"),
        );
    }
    let checked = list.into_iter().enumerate();
    checked.filter_map(|(i, net)| optional(net, &key.index(i), text::network, report)).collect()
}

fn switches(raw: Option<Vec<Option<RawSwitch>>>, key: &KeyPath<'_>, report: &mut Report<'_>) -> Vec<SwitchAddress> {
    let raw = raw.unwrap_or_default();
    unique(raw.iter().map(|raw| raw.as_ref()?.address.as_ref()), key, "address", report);
    if raw.len() > MOST_SWITCHES {
        let what = format!("there are more than {MOST_SWITCHES} switches");
        report.add(key, Fault::new(what, "run another daemon for the others"));
    }
    let mut switches = Vec::new();
    for (i, raw) in raw.into_iter().enumerate() {
        let here = key.index(i);
        // A variable with an index beyond the end of the list leaves such a gap.
        let Some(raw) = raw else {
            let fix = "number the switches in the variables' names from 0 without gaps";
            report.add(&here, Fault::new("this switch is missing", fix));
            continue;
        };
        let example = "address: \"127.0.0.1:8021\"";
        let address = required(raw.address, &here.key("address"), text::switch_address, example, report);
        let password = required(raw.password, &here.key("password"), text::password, "password: ClueCon", report);
        if let (Some(address), Some(password)) = (address, password) {
            switches.push(SwitchAddress { address, password });
        }
    }
    switches
}

fn languages(
    list: Option<Vec<Option<String>>>,
    default: Option<String>,
    report: &mut Report<'_>,
) -> (Vec<Language>, Language) {
    let top = KeyPath::Root;
    let key = top.key("languages");
    let named = list.is_some();
    let mut languages: Vec<Language> = Vec::new();
    for (i, name) in list.unwrap_or_default().into_iter().enumerate() {
        let here = key.index(i);
        let Some(language) = optional(name, &here, text::language, report) else {
            continue;
        };
        if languages.contains(&language) {
            report.add(&here, Fault::new(format!("{language} is listed twice"), "list each language once"));
        } else {
            languages.push(language);
        }
    }
    if !named {
        languages = ["de", "fr", "it", "en"].map(|name| Language(Arc::from(name))).to_vec();
    }
    let english = Language(Arc::from("en"));
    let Some(first) = languages.first() else {
        if !report.inside(&key) {
            report.add(&key, Fault::new("there are no languages", "name one that has prompts, or remove the key"));
        }
        return (languages, english);
    };
    let usual = if languages.contains(&english) { english } else { first.clone() };
    let named = default.and_then(|text| known_language(&text, &top.key("language"), &languages, report));
    (languages, named.unwrap_or(usual))
}

fn feature_codes(raw: Option<RawFeatureCodes>, report: &mut Report<'_>) -> FeatureCodes {
    let (top, raw) = (KeyPath::Root, raw.unwrap_or_default());
    let key = top.key("feature_codes");
    let usual = FeatureCodes::default();
    let login = optional(raw.login, &key.key("login"), text::feature_code, report).unwrap_or(usual.login);
    let place = key.key("logout");
    let logout = optional(raw.logout, &place, text::feature_code, report).unwrap_or(usual.logout);
    if login.starts_with(&logout) || logout.starts_with(&login) {
        let what = format!("login {} and logout {} cannot be told apart when dialled", quoted(&login), quoted(&logout));
        report.add(&place, Fault::new(what, "choose codes of which neither begins with the other"));
    }
    FeatureCodes { login, logout, toggle: raw.toggle.unwrap_or(usual.toggle) }
}

fn callers(raw: RawCallers, report: &mut Report<'_>) -> Callers {
    let top = KeyPath::Root;
    let withheld = optional(raw.withheld, &top.key("callers").key("withheld"), text::withheld, report);
    Callers { withheld: withheld.unwrap_or_default() }
}

fn log(raw: RawLog, report: &mut Report<'_>) -> LogSettings {
    let top = KeyPath::Root;
    let numbers = optional(raw.numbers, &top.key("log").key("numbers"), text::log_numbers, report);
    LogSettings { numbers: numbers.unwrap_or_default() }
}

/// The agents, and every id in the file, valid or not.
fn agents(raw: Option<Vec<Option<RawAgent>>>, report: &mut Report<'_>) -> (Vec<AgentSettings>, HashSet<String>) {
    let top = KeyPath::Root;
    let key = top.key("agents");
    let raw = raw.unwrap_or_default();
    let ids = unique(raw.iter().map(|raw| raw.as_ref()?.id.as_ref()), &key, "id", report);
    let mut agents = Vec::new();
    for (i, raw) in raw.into_iter().enumerate() {
        let (here, Some(raw)) = (key.index(i), raw) else {
            continue;
        };
        let id = required(raw.id, &here.key("id"), text::agent_id, "id: \"1001\"", report);
        let name = optional(raw.name, &here.key("name"), text::name, report);
        let dial = optional(raw.dial, &here.key("dial"), text::dial, report);
        if let Some(id) = id {
            let name = name.unwrap_or_else(|| Arc::from(id.as_str()));
            let follow_forwards = raw.follow_forwards.unwrap_or_default();
            agents.push(AgentSettings { dial, follow_forwards, ..AgentSettings::new(id, name) });
        }
    }
    (agents, ids)
}
