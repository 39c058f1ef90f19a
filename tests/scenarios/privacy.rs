//! Q17: callers who withhold their numbers. Q14: feature codes that another party makes a phone dial.

use freeswitch_queue::config::Withheld;
use simswitch::CallSpec;

use crate::house::{House, answers, pass, play};
use crate::log::Log;
use crate::setting::{configuration, queue};

/// Callers whose network sends the number, with the request not to show it.
fn withheld() -> [CallSpec; 3] {
    let hans = || CallSpec::trunk("0791234567", "99900").name("Hans Muster");
    [
        hans().variable("sip_Privacy", "id"),
        hans().variable("sip_from_user", "anonymous"),
        CallSpec::phone("1005", "99900").claims("0791234567").name("Hans Muster").variable("sip_Privacy", "user;id"),
    ]
}

/// Q17: no phone, record, log line or `status` shows the number, and the agent's leg carries the request for privacy to
/// any network behind it.
#[test]
fn q17_a_withheld_number_is_shown_nowhere() {
    for spec in withheld() {
        let (log, _listening) = Log::begin_json();
        play(async move {
            let house = House::open(&[queue("99900", &["1001"])]);
            drop(house.phone("1005"));
            house.settled().await;
            let caller = house.switch.call(&spec);
            let ring = house.phone("1001").wait_ringing().await;
            assert_eq!((ring.number.as_str(), ring.name.as_str()), ("anonymous", "Service - Anonymous"));
            let privacy = house.switch.variable(&ring.leg, "origination_privacy");
            assert_eq!(privacy.as_deref(), Some("hide_name hide_number"));
            let status = serde_json::to_string(&freeswitch_queue::admin::status_of(&house.daemon())).unwrap();
            assert!(status.contains(caller.uuid()) && !status.contains("079") && !status.contains("Hans"), "{status}");
            house.phone("1001").answer();
            caller.wait_talking().await;
            // From now on FreeSWITCH reports the other party in its events.
            let dump = house.switch.show_caller(caller.uuid());
            assert_eq!(dump, Some(("Anonymous".to_owned(), "anonymous".to_owned())));
            caller.hang_up();
            let records: Vec<_> = house.records().await.iter().map(|r| serde_json::to_string(r).unwrap()).collect();
            let records = records.join("\n");
            assert!(
                records.contains("call_entered") && !records.contains("079") && !records.contains("Hans"),
                "{records}"
            );
            pass(1_000).await;
            house.end().await;
        });
        let text = log.text();
        assert!(text.contains("call_entered") && !text.contains("0791234567") && !text.contains("Hans"), "{text}");
    }
}

/// Q17: a withheld number is shown where the configuration says so.
#[test]
fn q17_a_withheld_number_is_shown_where_the_configuration_says_so() {
    let mut config = configuration(&[queue("99900", &["1001"])], "");
    config.callers.withheld = Withheld::Show;
    for spec in withheld() {
        let config = config.clone();
        play(async move {
            let house = House::with(simswitch::Config::default(), config, 1);
            drop(house.phone("1005"));
            let caller = house.switch.call(&spec);
            let ring = house.phone("1001").wait_ringing().await;
            assert_eq!((ring.number.as_str(), ring.name.as_str()), ("0791234567", "Service - Hans Muster"));
            assert_eq!(house.switch.variable(&ring.leg, "origination_privacy"), None);
            caller.hang_up();
            house.end().await;
        });
    }
}

/// Q14: a colleague who transfers the agent's call to a code logs no agent in or out; the agent's own call does.
#[test]
fn q14_a_colleague_cannot_dial_a_code_for_an_agent() {
    let (log, _listening) = Log::begin();
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002"])]);
        house.settled().await;
        house.when_rung("1002", answers(300));
        let anna = house.switch.call(&CallSpec::phone("1001", "1002"));
        anna.wait_talking().await;
        assert!(house.phone("1002").blind_transfer("*4299900"));
        anna.wait_hears("not-authenticated").await;
        anna.wait_ended().await;
        assert!(house.is_in("1001", "99900"));
        house.switch.call(&CallSpec::phone("1001", "*4299900")).wait_ended().await;
        assert!(!house.is_in("1001", "99900"));
        house.end().await;
    });
    assert_eq!(log.text().lines().filter(|l| l.contains("the agent must dial the code")).count(), 1, "{}", log.text());
}
