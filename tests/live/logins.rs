//! Feature codes that agents dial (Q14 to Q16).

use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{CancelCause, EndedBy, Fact};

use crate::caller::From;
use crate::lab::{Lab, SOON};
use crate::sound::Words;

crate::cases!("logins":
    logging_in_and_out_is_confirmed_in_the_queues_language_however_often,
    a_lamp_key_logs_in_like_the_code,
    a_lamp_key_for_the_own_agent_toggles,
    a_lamp_shows_a_login,
    a_command_logs_in_and_out,
    the_authenticated_user_counts_not_the_from_header,
    an_unknown_caller_is_refused,
    a_user_of_the_same_name_in_another_domain_is_a_different_user,
    logging_out_stops_the_ringing_and_leaves_a_conversation_alone,
);

const ONE: &str = "  - { number: \"99900\", name: Sales, participants: [\"1001\", \"1002\"], language: fr }\n";

/// Logins and logouts so far, as `+1001` and `-1001`.
fn changes(lab: &Lab) -> Vec<String> {
    let told = |fact: &Fact| match fact {
        Fact::AgentLoggedIn { agent, .. } => Some(format!("+{agent}")),
        Fact::AgentLoggedOut { agent, .. } => Some(format!("-{agent}")),
        _ => None,
    };
    lab.daemon().facts().iter().filter_map(|record| told(&record.fact)).collect()
}

/// Dials a code and hears its prompt to the end; the daemon hangs up in time (Q14).
#[track_caller]
fn dial(lab: &Lab, from: &From, code: &str, language: &str, answer: &str) {
    let call = lab.call(from, code);
    let words = Words::of(&lab.prompt(language, answer));
    call.sound.hears_words(&words, call.since, SOON);
    let took = call.byed(SOON).at - call.since;
    assert!(took < Duration::from_millis(3300), "hung up after {took:?}");
    call.over(SOON);
}

fn logging_in_and_out_is_confirmed_in_the_queues_language_however_often(lab: &Lab) {
    lab.serve(ONE);
    dial(lab, &From::phone("1001"), "*4199900", "fr", "logged-in");
    assert_eq!(changes(lab), ["+1001"]);
    dial(lab, &From::phone("1001"), "*4199900", "fr", "logged-in");
    assert_eq!(changes(lab), ["+1001"], "it was logged in");
    dial(lab, &From::phone("1001"), "*4299900", "fr", "logged-out");
    assert_eq!(changes(lab), ["+1001", "-1001"]);
    dial(lab, &From::phone("1001"), "*4299900", "fr", "logged-out");
    assert_eq!(changes(lab), ["+1001", "-1001"], "it was logged out");
}

/// Q16.
fn a_lamp_key_logs_in_like_the_code(lab: &Lab) {
    lab.serve(ONE);
    dial(lab, &From::phone("1001"), "*4199900*1001", "fr", "logged-in");
    assert_eq!(changes(lab), ["+1001"]);
}

/// Q16.
fn a_lamp_key_for_the_own_agent_toggles(lab: &Lab) {
    lab.serve(ONE);
    lab.daemon_mut().terminate(SOON);
    lab.daemon().rewrite("state: state.db\n", "state: state.db\nfeature_codes: { toggle: true }\n");
    lab.serve_again();
    let lamp = lab.lamp("1001", "*4199900*1001");
    lamp.shows(false, SOON);
    for (answer, lit) in [("logged-in", true), ("logged-out", false), ("logged-in", true)] {
        dial(lab, &From::phone("1001"), "*4199900*1001", "fr", answer);
        lamp.shows(lit, SOON);
    }
    // The key for a colleague's lamp still logs in only.
    dial(lab, &From::phone("1001"), "*4199900*1002", "fr", "logged-in");
    assert_eq!(changes(lab), ["+1001", "-1001", "+1001"]);
}

/// Q16: on a phone that subscribed before the login, and on one that subscribes after it.
fn a_lamp_shows_a_login(lab: &Lab) {
    lab.serve(ONE);
    let lamp = lab.lamp("1005", "*4199900*1001");
    lamp.shows(false, SOON);
    let other = lab.lamp("1006", "*4199900*1002");
    other.shows(false, SOON);
    lab.log_in("99900", &["1001"]);
    lamp.shows(true, SOON);
    let late = lab.lamp("1007", "*4199900*1001");
    late.shows(true, SOON);
    lab.daemon_mut().terminate(SOON);
    lab.serve_again();
    let again = lab.lamp("1008", "*4199900*1001");
    again.shows(true, SOON);
    let out = lab.call(&From::phone("1001"), "*4299900");
    lamp.shows(false, SOON);
    late.shows(false, SOON);
    out.over(SOON);
    assert!(!other.ever_lit(), "the lamp of another agent was lit");
}

/// Q14, Q16: an agent who is logged in by command is rung, and the lamp shows it.
fn a_command_logs_in_and_out(lab: &Lab) {
    lab.serve(ONE);
    let lamp = lab.lamp("1005", "*4199900*1001");
    lamp.shows(false, SOON);
    assert!(lab.daemon().ask(&["login", "1001", "99900"]).status.success());
    lamp.shows(true, SOON);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    lab.phone("1001").rings(SOON).serves(caller);
    assert!(lab.daemon().ask(&["logout", "1001"]).status.success());
    lamp.shows(false, SOON);
}

/// Q14.
fn the_authenticated_user_counts_not_the_from_header(lab: &Lab) {
    lab.serve(ONE);
    dial(lab, &From::phone_as("1001", "1002"), "*4199900", "fr", "logged-in");
    assert_eq!(changes(lab), ["+1001"]);
}

/// Q14.
fn an_unknown_caller_is_refused(lab: &Lab) {
    lab.serve(ONE);
    dial(lab, &From::outside("1001", ""), "*4199900", "fr", "not-authenticated");
    dial(lab, &From::phone("1003"), "*4199900", "fr", "not-a-member");
    dial(lab, &From::phone("1001"), "*4199999", "en", "no-such-queue");
    assert!(changes(lab).is_empty(), "{:?}", changes(lab));
}

/// Q14: without `domain` in the file, an agent is the user that `user/1001` rings: the user of FreeSWITCH's own domain.
fn a_user_of_the_same_name_in_another_domain_is_a_different_user(lab: &Lab) {
    lab.serve_without_domain(ONE);
    dial(lab, &From::phone_of_others("1001"), "*4199900", "fr", "not-authenticated");
    assert!(changes(lab).is_empty(), "{:?}", changes(lab));
    dial(lab, &From::phone("1001"), "*4199900", "fr", "logged-in");
    dial(lab, &From::phone_of_others("1001"), "*4299900", "fr", "not-authenticated");
    assert_eq!(changes(lab), ["+1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    caller.hang_up();
    ring.cancelled(SOON);
    caller.over(SOON);
}

/// Q15.
fn logging_out_stops_the_ringing_and_leaves_a_conversation_alone(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001", "1002"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let first = lab.phone("1001").rings(SOON);
    let out = lab.call(&From::phone("1001"), "*4299900");
    first.cancelled(SOON);
    lab.daemon().fact("called off", SOON, |fact| {
        matches!(fact, Fact::OfferCancelled { cause: CancelCause::LoggedOut, .. }).then_some(())
    });
    let second = lab.phone("1002").rings(SOON);
    second.connects(&caller);
    let other = lab.call(&From::phone("1002"), "*4299900");
    lab.daemon().fact("logged out", SOON, |fact| match fact {
        Fact::AgentLoggedOut { agent, .. } => (agent.as_str() == "1002").then_some(()),
        _ => None,
    });
    let later = Instant::now();
    caller.sound.hears(lab.phone("1002").tone, later, SOON);
    lab.phone("1002").sound.hears(caller.tone, later, SOON);
    second.hang_up();
    let (_, by) = lab.daemon().fact("the end of the conversation", SOON, |fact| match fact {
        Fact::ConversationEnded { by, .. } => Some(*by),
        _ => None,
    });
    assert_eq!(by, EndedBy::Agent);
    for call in [out, other, caller] {
        call.over(SOON);
    }
}
