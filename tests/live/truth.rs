//! The edges of the simulated switch, compared to the real one: the same cases as in its own tests (`edges`, `moves`),
//! so that neither can drift from the other.

use std::time::{Duration, Instant};

use phones::Manner;
use serde_json::Value;

use crate::answers::ANSWERS;
use crate::lab::{Lab, SOON};
use crate::office;
use crate::switch::DOMAIN;

crate::cases!("truth":
    a_final_answer_ends_a_leg_with_the_cause_of_its_status,
    a_302_is_followed_on_the_same_leg_unless_that_is_fatal,
    a_dead_phone_gives_no_sign_until_a_limit_ends_it,
    presence_is_what_the_from_header_claims,
    transfers_are_counted_down_and_the_last_one_ends_the_call,
    a_leg_that_must_be_confirmed_makes_its_next_bridge_wait,
);

/// Rings a phone of the office; returns FreeSWITCH's answer, and how long it took.
fn ring(lab: &Lab, variables: &str, user: &str) -> (String, Duration) {
    let began = Instant::now();
    let said = lab.switch.api(&format!("originate {{{variables}}}user/{user}@{DOMAIN} &park()"));
    (said.trim().trim_start_matches("-ERR ").to_owned(), began.elapsed())
}

fn rows(lab: &Lab) -> Vec<Value> {
    let shown: Value = serde_json::from_str(&lab.switch.api("show channels as json")).unwrap_or_default();
    shown["rows"].as_array().cloned().unwrap_or_default()
}

fn a_final_answer_ends_a_leg_with_the_cause_of_its_status(lab: &Lab) {
    let phones = office::phones(lab);
    for (status, cause) in ANSWERS {
        phones.set_manner("1021", Manner::Refuses(status));
        assert_eq!(ring(lab, "originate_timeout=5", "1021").0, cause, "{status}");
    }
}

fn a_302_is_followed_on_the_same_leg_unless_that_is_fatal(lab: &Lab) {
    let phones = office::phones(lab);
    let (to, port) = ("9000".to_owned(), lab.switch.trunk);
    phones.set_manner("1021", Manner::Forwards { to, port });
    let (said, _) = ring(lab, "outbound_redirect_fatal=true,originate_timeout=5", "1021");
    assert_eq!(said, "REQUESTED_CHAN_UNAVAIL");
    let leg = "00000000-0000-4000-8000-000000000302";
    let (said, _) = ring(lab, &format!("origination_uuid={leg},originate_timeout=5"), "1021");
    assert_eq!(said, format!("+OK {leg}"), "9000 has answered instead");
    lab.switch.api(&format!("uuid_kill {leg}"));
    lab.switch.channels().all_gone(SOON).unwrap();
}

fn a_dead_phone_gives_no_sign_until_a_limit_ends_it(lab: &Lab) {
    let phones = office::phones(lab);
    phones.set_manner("1021", Manner::Dead);
    for (limit, cause, most) in [
        ("leg_progress_timeout=2,originate_timeout=20", "PROGRESS_TIMEOUT", 4),
        ("originate_timeout=3", "NO_ANSWER", 4),
    ] {
        let (said, took) = ring(lab, limit, "1021");
        assert_eq!(said, cause, "{limit}");
        assert!(took < Duration::from_secs(most), "{limit}: {took:?}");
    }
}

fn presence_is_what_the_from_header_claims(lab: &Lab) {
    let spoof = lab.call(&crate::caller::From::phone_as("1010", "1001"), "9000");
    let shown = until(|| rows(lab).into_iter().find(|row| row["cid_num"] == "1001"));
    assert_eq!(shown["presence_id"], format!("1001@{DOMAIN}"), "it was 1010 who authenticated");
    spoof.hang_up();
    spoof.over(SOON);
    let outside = lab.call(&crate::caller::From::outside("0791234567", ""), "9000");
    let shown = until(|| rows(lab).into_iter().find(|row| row["cid_num"] == "0791234567"));
    assert_eq!(shown["presence_id"], "", "a profile without presence");
    outside.hang_up();
    outside.over(SOON);
}

fn transfers_are_counted_down_and_the_last_one_ends_the_call(lab: &Lab) {
    let phones = office::phones(lab);
    let call = phones.call_from("1021", DOMAIN, "9000");
    phones.wait("9000 answers", SOON, call, |calls| calls[0].answered).unwrap();
    let uuid = until(|| rows(lab).first().and_then(|row| row["uuid"].as_str().map(str::to_owned)));
    lab.switch.api(&format!("uuid_setvar {uuid} max_session_transfers 3"));
    for left in [2, 1] {
        assert!(lab.switch.api(&format!("uuid_transfer {uuid} 9000")).starts_with("+OK"));
        let said = || lab.switch.api(&format!("uuid_getvar {uuid} max_session_transfers"));
        until(|| (said() == left.to_string()).then_some(()));
    }
    lab.switch.api(&format!("uuid_transfer {uuid} 9000"));
    phones.wait("the call ends", SOON, call, |calls| calls[0].ended).unwrap();
    let reason = phones.get(call).map(|call| call.reason).unwrap_or_default();
    assert!(reason.contains("EXCHANGE_ROUTING_ERROR"), "{reason}");
}

fn a_leg_that_must_be_confirmed_makes_its_next_bridge_wait(lab: &Lab) {
    let phones = office::phones(lab);
    let call = phones.call_from("1021", DOMAIN, "9000");
    phones.wait("9000 answers", SOON, call, |calls| calls[0].answered).unwrap();
    let uuid = until(|| rows(lab).first().and_then(|row| row["uuid"].as_str().map(str::to_owned)));
    lab.switch.api(&format!("uuid_setvar_multi {uuid} group_confirm_key=exec;group_confirm_timeout=3"));
    lab.switch.api(&format!("uuid_transfer {uuid} 1022"));
    let rung = |calls: &[phones::Call]| calls.iter().position(|c| c.user == "1022" && c.ringing.is_some());
    let second = call + phones.wait("1022 rings", SOON, call, rung).unwrap();
    phones.answer(second);
    let answered = Instant::now();
    phones
        .wait("both are hung up", Duration::from_secs(8), call, |calls| {
            (calls[0].ended.is_some() && calls[second - call].ended.is_some()).then_some(())
        })
        .unwrap();
    let took = answered.elapsed();
    assert!((Duration::from_millis(2900)..Duration::from_millis(4600)).contains(&took), "{took:?}");
    let heard = phones.get(second).map(|c| (c.person.is_some(), c.reason)).unwrap_or_default();
    assert!(!heard.0, "nobody hears anybody: {heard:?}");
}

/// Repeats the query until there is an answer.
#[track_caller]
fn until<T>(look: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "FreeSWITCH does not show it");
        std::thread::sleep(Duration::from_millis(50));
    }
}
