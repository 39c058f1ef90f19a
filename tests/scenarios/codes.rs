//! Q14, Q15, Q16: login and logout by telephone. Q17: the display of the agent's phone.

use std::time::Duration;

use freeswitch_queue::acd::fact::{Asker, Fact};
use freeswitch_queue::acd::ids::AgentId;
use freeswitch_queue::controller::CallOffAnswer;
use simswitch::{CallSpec, Sound};

use crate::house::{House, pass, play};
use crate::setting::{configuration, queue};

/// Dials `code`, waits for the end of the call, and returns the prompts that were played.
async fn dial(house: &House, call: &CallSpec) -> String {
    let caller = house.switch.call(call);
    let began = house.switch.now();
    caller.wait_ended().await;
    let (ended, _) = caller.ended().unwrap();
    let heard = caller.history().into_iter().find_map(|s| match s.sound {
        Sound::Playing(file) => Some(s.at).zip(Some(file)),
        _ => None,
    });
    let (spoken, file) = heard.expect("something was said");
    assert!(spoken - began <= Duration::from_millis(500), "the prompt starts at once");
    // A prompt lasts 2 s in this house.
    assert!(ended - spoken <= Duration::from_secs(2 + 3), "hung up within 3 s of the answer");
    file.trim_start_matches("/prompts/").trim_end_matches(".wav").to_owned()
}

fn house() -> House {
    let french = queue("99900", &["1001", "1002"]).with("position_announcement: { language: fr, every_seconds: 30 }");
    let house = House::open(&[french, queue("99901", &["1002"]).with("language: de")]);
    house.log_out("1001", "99900");
    house
}

/// Q14: two agents log in and out, in the queue's language.
#[test]
fn q14_login_and_logout() {
    play(async {
        let house = house();
        assert_eq!(dial(&house, &CallSpec::phone("1001", "*4199900")).await, "fr/logged-in");
        assert!(house.is_in("1001", "99900"));
        assert_eq!(dial(&house, &CallSpec::phone("1001", "*4199900")).await, "fr/logged-in");
        assert_eq!(dial(&house, &CallSpec::phone("1001", "*4299900")).await, "fr/logged-out");
        assert!(!house.is_in("1001", "99900"));
        assert_eq!(dial(&house, &CallSpec::phone("1001", "*4299900")).await, "fr/logged-out");
        assert_eq!(dial(&house, &CallSpec::phone("1002", "*4299901")).await, "de/logged-out");
        assert!(house.is_in("1002", "99900"), "the other queue is untouched");
        let story = house.end().await.story();
        let shift = "the shift of 1001 begins with 0 calls and 0 s";
        assert_eq!(story[1..], ["1001 logs in to 99900", shift, "1001 logs out of 99900", "1002 logs out of 99901"]);
    });
}

/// Q14, Q23: the record of a login or logout names the call and the phone that dialled it.
#[test]
fn q23_a_code_is_recorded_with_the_phone_that_dials_it() {
    play(async {
        let house = house();
        dial(&house, &CallSpec::phone("1001", "*4199900")).await;
        dial(&house, &CallSpec::phone("1001", "*4299900")).await;
        let asked: Vec<_> = house
            .records()
            .await
            .into_iter()
            .filter_map(|record| match record.fact {
                Fact::AgentLoggedIn { by: Asker::Phone { user, call }, .. }
                | Fact::AgentLoggedOut { by: Asker::Phone { user, call }, .. } => Some((user, call)),
                _ => None,
            })
            .collect();
        let [(first, login), (second, logout)] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!([&**first, &**second], ["1001", "1001"]);
        assert_ne!(login, logout);
        house.end().await;
    });
}

/// Q14: an unknown queue, a caller who is no participant and a caller without authentication each get a spoken refusal,
/// and nothing changes.
#[test]
fn q14_refusals() {
    play(async {
        let house = house();
        let refused = [
            (CallSpec::phone("1001", "*4199999"), "en/no-such-queue"),
            (CallSpec::phone("1001", "*4299999"), "en/no-such-queue"),
            (CallSpec::phone("1001", "*4199901"), "de/not-a-member"),
            (CallSpec::phone("1003", "*4199900"), "fr/not-a-member"),
            (CallSpec::phone("1003", "*4299900"), "fr/not-a-member"),
            (CallSpec::trunk("1001", "*4199900"), "fr/not-authenticated"),
            (CallSpec::trunk("1002", "*4299900"), "fr/not-authenticated"),
            (CallSpec::trunk("", "*4299900"), "fr/not-authenticated"),
        ];
        for (call, answer) in refused {
            assert_eq!(dial(&house, &call).await, answer, "{call:?}");
        }
        assert_eq!(house.end().await.story(), ["1001 logs out of 99900"]);
    });
}

/// Q14: the authenticated user counts, never the phone's own claim, whether in the From header or in variables of the
/// same names that another party can set.
#[test]
fn q14_a_lying_phone_changes_only_its_own_login() {
    play(async {
        let house = house();
        let liar = CallSpec::phone("1001", "*4299900").claims("1002");
        assert_eq!(dial(&house, &liar).await, "fr/logged-out");
        assert!(house.is_in("1002", "99900"), "1002 did not dial");
        let liar = CallSpec::phone("1001", "*4199900").claims("1002").name("1002");
        assert_eq!(dial(&house, &liar).await, "fr/logged-in");
        assert!(house.is_in("1001", "99900"), "the authenticated user is logged in");
        let stranger = CallSpec::phone("1003", "*4299900").claims("1002").variable("sip_h_X-sip_auth_username", "1002");
        assert_eq!(dial(&house, &stranger).await, "fr/not-a-member");
        // A user name without the variable that marks it as authenticated.
        let unchecked = CallSpec::trunk("1002", "*4299900").variable("sip_auth_username", "1002");
        assert_eq!(dial(&house, &unchecked).await, "fr/not-authenticated");
        assert!(house.is_in("1002", "99900"));
        house.end().await;
    });
}

/// Q14: a user of the same number in another domain is a different user.
#[test]
fn q14_a_user_of_another_domain_is_a_different_user() {
    play(async {
        let config = configuration(&[queue("99900", &["1001"])], "");
        let house =
            House::with(simswitch::Config { domain: "other".into(), ..simswitch::Config::default() }, config, 1);
        assert_eq!(dial(&house, &CallSpec::phone("1001", "*4299900")).await, "en/not-authenticated");
        assert!(house.is_in("1001", "99900"));
        house.end().await;
    });
}

/// Two agents of a file without `domain`: 1001 is rung as `user/1001`, which belongs to the switch's own domain, and
/// 1002 by its `dial`.
fn of_no_domain() -> House {
    let mut config = configuration(&[queue("99900", &["1001", "1002"])], "");
    config.domain = None;
    config.agents[1].dial = Some("user/1002@hosted".into());
    House::with(simswitch::Config::default(), config, 1)
}

/// Q14: a code counts for the agent whose phone the same user's offer rings; with or without `domain`, a user of the
/// same name in another domain is not that agent.
#[test]
fn q14_an_agent_is_the_user_whose_phone_is_rung() {
    play(async {
        let house = of_no_domain();
        for (agent, home, stranger) in [("1001", "lab", "hosted"), ("1002", "hosted", "lab")] {
            let dials = |code: &str, domain: &str| CallSpec::phone(agent, &format!("{code}99900")).domain(domain);
            assert_eq!(dial(&house, &dials("*42", stranger)).await, "en/not-authenticated", "{agent}");
            assert!(house.is_in(agent, "99900"));
            assert_eq!(dial(&house, &dials("*42", home)).await, "en/logged-out", "{agent}");
            assert_eq!(dial(&house, &dials("*41", stranger)).await, "en/not-authenticated", "{agent}");
            assert!(!house.is_in(agent, "99900"));
            assert_eq!(dial(&house, &dials("*41", home)).await, "en/logged-in", "{agent}");
        }
        let hans = house.caller("0791", "99900");
        assert_eq!(house.take("1001").await, "0791");
        hans.hang_up();
        house.end().await;
    });
}

/// Q5: a private call of a user of the same name in another domain does not make the agent busy.
#[test]
fn q5_a_private_call_in_another_domain_does_not_make_the_agent_busy() {
    play(async {
        let house = of_no_domain();
        house.settled().await;
        let busy = |agent: &str, domain: &str| house.switch.call(&CallSpec::phone(agent, "9000").domain(domain));
        let strangers = [busy("1001", "hosted"), busy("1002", "lab")];
        pass(4_000).await;
        assert_eq!([house.activity("1001"), house.activity("1002")], ["idle", "idle"]);
        let own = [busy("1001", "lab"), busy("1002", "hosted")];
        pass(100).await;
        assert_eq!([house.activity("1001"), house.activity("1002")], ["on another call", "on another call"]);
        strangers.iter().chain(&own).for_each(simswitch::Caller::hang_up);
        house.end().await;
    });
}

/// Q15: an agent who logs out while the phone rings has no missed call, and the caller is offered to the next agent.
#[test]
fn q15_logging_out_while_ringing() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002"])]);
        let hans = house.caller("0791", "99900");
        house.phone("1001").wait_ringing().await;
        pass(1_000).await;
        assert_eq!(dial(&house, &CallSpec::phone("1001", "*4299900")).await, "en/logged-out");
        assert!(!house.phone("1001").is_ringing());
        assert_eq!(house.phone("1001").view().missed, []);
        assert_eq!(house.take("1002").await, "0791");
        hans.hang_up();
        let book = house.end().await;
        assert_eq!(book.story_of(&["called off"]), ["1001 is called off 0791: logged out"]);
        let gap = book.when("1002 is offered 0791") - book.when("1001 logs out of 99900");
        assert!(gap <= 50, "the next is rung {gap} ms later");
    });
}

/// Q15: an agent who logs out during a conversation finishes it and gets no further caller.
#[test]
fn q15_logging_out_in_a_conversation() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002"])]);
        house.when_rung("1002", simswitch::Behaviour::Ignore);
        let hans = house.caller("0791", "99900");
        house.take("1001").await;
        house.log_out("1001", "99900");
        pass(30_000).await;
        assert_eq!(hans.view().talks_to(), Some("1001"));
        let eva = house.caller("0792", "99900");
        house.phone("1001").hang_up();
        hans.wait_ended().await;
        pass(60_000).await;
        assert!(house.phone("1001").view().is_idle());
        eva.hang_up();
        house.end().await;
    });
}

/// Q16: a phone dials a lamp key's code like the code itself: its suffix selects the lamp, not the user who logs in.
#[test]
fn q16_the_lamp_keys_code() {
    play(async {
        let house = house();
        assert_eq!(dial(&house, &CallSpec::phone("1001", "*4199900*1001")).await, "fr/logged-in");
        assert!(house.is_in("1001", "99900"));
        assert_eq!(dial(&house, &CallSpec::phone("1001", "*4299900*1002")).await, "fr/logged-out");
        assert!(!house.is_in("1001", "99900") && house.is_in("1002", "99900"));
        house.end().await;
    });
}

/// Q16: with `toggle`, the lamp key for the own agent logs in and out by turns; a key for another agent only in.
#[test]
fn q16_a_lamp_key_toggles() {
    play(async {
        let service = configuration(&[queue("99900", &["1001", "1002"])], "feature_codes: { toggle: true }\n");
        let house = House::with(simswitch::Config::default(), service, 1);
        house.log_out("1001", "99900");
        for (code, said, is_in) in [
            ("*4199900*1001", "en/logged-in", true),
            ("*4199900*1001", "en/logged-out", false),
            ("*4199900*1002", "en/logged-in", true),
            ("*4199900*1002", "en/logged-in", true),
            ("*4199900", "en/logged-in", true),
            ("*4199900*1001", "en/logged-out", false),
        ] {
            assert_eq!(dial(&house, &CallSpec::phone("1001", code)).await, said, "{code}");
            assert_eq!(house.is_in("1001", "99900"), is_in, "{code}");
        }
        house.end().await;
    });
}

/// Q17: the phone shows the caller's number, and the name with the queue's name in front.
#[test]
fn q17_what_the_phone_shows() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"])]);
        for (name, shown) in [
            ("Hans Muster", "Service - Hans Muster"),
            ("", "Service - 0791234567"),
            ("Zoë Müller-Ünlü", "Service - Zoë Müller-Ünlü"),
            ("Support: Hans", "Service - Support Hans"),
        ] {
            let caller = house.switch.call(&CallSpec::trunk("0791234567", "99900").name(name));
            let ring = house.phone("1001").wait_ringing().await;
            assert_eq!((ring.number.as_str(), ring.name.as_str()), ("0791234567", shown));
            caller.hang_up();
            house.phone("1001").wait_idle().await;
        }
        house.end().await;
    });
}

/// Q7, Q8: an offer that is called off on request is no missed call, and the caller is offered to the next agent; the
/// agent is not rung again for this caller within 5 s. A conversation is not affected.
#[test]
fn q7_an_offer_is_called_off_on_request() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002"])]);
        house.when_rung("1002", simswitch::Behaviour::Ignore);
        let call_off = |agent: &str| {
            let daemon = house.daemon();
            daemon.controller().call_off(&Asker::Operator, &AgentId::new(agent).unwrap())
        };
        assert_eq!(call_off("1001"), CallOffAnswer::NothingRings);
        let hans = house.caller("0791", "99900");
        house.phone("1001").wait_ringing().await;
        pass(1_000).await;
        assert!(matches!(call_off("1001"), CallOffAnswer::Ordered(_)));
        house.phone("1002").wait_ringing().await;
        assert!(house.phone("1001").view().is_idle());
        assert_eq!(house.phone("1001").view().missed, []);
        pass(1_000).await;
        assert!(matches!(call_off("1002"), CallOffAnswer::Ordered(_)));
        assert_eq!(house.take("1001").await, "0791", "after the last agent the first is tried again");
        hans.wait_talking().await;
        // The daemon has not received the answer's event yet, and the connection stands.
        assert!(matches!(call_off("1001"), CallOffAnswer::Ordered(_)));
        pass(100).await;
        assert_eq!(call_off("1001"), CallOffAnswer::NothingRings);
        assert_eq!(hans.view().talks_to(), Some("1001"));
        hans.hang_up();
        let book = house.end().await;
        let called_off = ["1001 is called off 0791: requested", "1002 is called off 0791: requested"];
        assert_eq!(book.story_of(&["called off"]), called_off);
        let again = book.when("1001 answers 0791") - book.when("1001 is called off 0791: requested");
        assert!(again >= 5_000, "rung again after {again} ms");
    });
}
