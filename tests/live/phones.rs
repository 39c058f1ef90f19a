//! Several phones of one agent (Q8).

use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{EndedBy, Fact};

use crate::caller::From;
use crate::lab::{LIMITED, Lab, SHARED, SOON};
use crate::six::Six;
use crate::switch::{MEDIA_TIMEOUT, NINE_THOUSAND};

crate::cases!("phones":
    every_phone_of_an_agent_rings_and_the_first_to_answer_gets_the_caller,
    two_phones_of_an_agent_answered_at_once_make_one_conversation,
    an_offer_stands_while_one_phone_of_the_agent_rings,
    no_phone_of_an_agent_keeps_ringing_for_a_caller_who_has_gone,
    a_daemon_that_is_killed_leaves_no_phone_of_an_agent_ringing,
    a_phone_that_speaks_ipv6_rings_with_the_others,
    a_phone_that_registers_later_rings_as_well,
    a_phone_with_the_long_address_of_push_messages_rings_with_the_others,
    a_phone_that_dies_in_the_call_is_free_after_the_directorys_media_timeout,
);

const ONE: &str = "  - { number: \"99900\", name: Sales, participants: [\"1011\", \"1001\"], ring_seconds: 5, wrap_up_seconds: 30 }\n";

/// Q8, Q17, Q9.
fn every_phone_of_an_agent_rings_and_the_first_to_answer_gets_the_caller(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1011"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let rings = ["desk", "soft"].map(|phone| lab.phone(phone).rings(SOON));
    for ring in &rings {
        assert!(
            ring.invite.header("From").contains("\"Sales - Hans\" <sip:0791234567@"),
            "{}",
            ring.invite.header("From")
        );
    }
    // Lamps of other phones count both phones as the agent's, as with a phone that the directory dials.
    let (_, offer) = lab.daemon().fact("the offer", SOON, |fact| match fact {
        Fact::OfferMade { offer, .. } => Some(*offer),
        _ => None,
    });
    for leg in [offer.leg(0), offer.leg(1)] {
        assert_eq!(lab.switch.api(&format!("uuid_getvar {leg} presence_id")), "1011@live.test");
    }
    let answered = rings[1].connects(&caller);
    lab.phone("soft").sound.hears(caller.tone, answered, SOON);
    let reason = rings[0].cancelled(SOON);
    assert_eq!(reason.header("Reason"), "SIP;cause=200;text=\"Call completed elsewhere\"", "no missed call");
    let late = reason.at.saturating_duration_since(answered);
    assert!(late < Duration::from_millis(300), "still rang for {late:?}");
    assert!(!rings[1].is_over() && !caller.is_over(), "the conversation did not last");
    // The agent transfers the caller: the phone may do with the call all it may do with any other.
    let begun = Instant::now();
    rings[1].transfer("9000");
    caller.sound.hears(NINE_THOUSAND, begun, SOON);
    let (_, by) = lab.daemon().fact("the end of the conversation", SOON, |fact| match fact {
        Fact::ConversationEnded { by, .. } => Some(*by),
        _ => None,
    });
    assert_eq!(by, EndedBy::Transfer);
    lab.daemon().fact("wrap-up", SOON, |fact| matches!(fact, Fact::WrapUpStarted { .. }).then_some(()));
    let offers = lab.daemon().facts().iter().filter(|r| matches!(r.fact, Fact::OfferMade { .. })).count();
    assert_eq!(offers, 1, "two phones are one offer");
    caller.hang_up();
    rings[1].over(SOON);
}

/// Q8: with offsets of a few milliseconds.
fn two_phones_of_an_agent_answered_at_once_make_one_conversation(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1011\"] }\n");
    lab.log_in("99900", &["1011"]);
    for round in 0..8_u64 {
        let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
        let rings = ["desk", "soft"].map(|phone| lab.phone(phone).rings(SOON));
        let begun = Instant::now();
        let (first, second) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        rings[first].lift();
        // The offset is the subject of the test.
        std::thread::sleep(Duration::from_micros(700 * (round / 2)));
        rings[second].lift();
        lab.daemon().nth_fact("answered", usize::try_from(round).unwrap(), SOON, |fact| {
            matches!(fact, Fact::CallAnswered { .. }).then_some(())
        });
        let end = Instant::now() + SOON;
        let lost = loop {
            match [0, 1].into_iter().find(|&phone| rings[phone].is_over()) {
                Some(lost) => break lost,
                None => assert!(Instant::now() < end, "round {round}: both phones are in the call"),
            }
            std::thread::yield_now();
        };
        let (won, name) = if lost == 0 { (1, "soft") } else { (0, "desk") };
        caller.sound.hears(lab.phone(name).tone, begun, SOON);
        lab.phone(name).sound.hears(caller.tone, begun, SOON);
        assert!(!rings[won].is_over() && !caller.is_over(), "round {round}: the conversation did not last");
        rings[won].hang_up();
        caller.over(SOON);
        lab.switch.channels().all_gone(SOON).unwrap();
    }
}

/// Q7: declined on one phone and ignored on the other, the offer is missed once.
fn an_offer_stands_while_one_phone_of_the_agent_rings(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1011", "1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let [desk, soft] = ["desk", "soft"].map(|phone| lab.phone(phone).rings(SOON));
    desk.decline();
    let off = soft.cancelled(Duration::from_secs(7));
    let rang = off.at.saturating_duration_since(soft.invite.at);
    assert!((Duration::from_millis(4900)..Duration::from_millis(5300)).contains(&rang), "rang for {rang:?}");
    let next = lab.phone("1001").rings(SOON);
    let moved = next.invite.at.saturating_duration_since(off.at);
    assert!(moved < Duration::from_millis(200), "moved on after {moved:?}");
    let missed = lab.daemon().facts().iter().filter(|r| matches!(r.fact, Fact::OfferMissed { .. })).count();
    assert_eq!(missed, 1);
    next.connects(&caller);
    caller.hang_up();
    next.over(SOON);
}

/// Q8.
fn no_phone_of_an_agent_keeps_ringing_for_a_caller_who_has_gone(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1011"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let rings = ["desk", "soft"].map(|phone| lab.phone(phone).rings(SOON));
    caller.hang_up();
    let told = Instant::now();
    for ring in &rings {
        let late = ring.cancelled(SOON).at.saturating_duration_since(told);
        assert!(late < Duration::from_millis(200), "the phone kept ringing for {late:?}");
    }
    caller.over(SOON);
    lab.switch.channels().all_gone(SOON).unwrap();
}

/// Q19: the caller returns, and both phones ring again.
fn a_daemon_that_is_killed_leaves_no_phone_of_an_agent_ringing(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1011"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let rings = ["desk", "soft"].map(|phone| lab.phone(phone).rings(SOON));
    lab.daemon_mut().kill();
    lab.serve_again();
    for ring in &rings {
        ring.over(Duration::from_secs(8));
    }
    let again = ["desk", "soft"].map(|phone| lab.phone(phone).rings(Duration::from_secs(8)));
    again[0].connects(&caller);
    again[1].cancelled(SOON);
    again[0].hang_up();
    caller.over(SOON);
}

/// Q8: the address of a phone may be IPv6.
fn a_phone_that_speaks_ipv6_rings_with_the_others(lab: &Lab) {
    let six = match Six::register("1011", lab.switch.six) {
        Ok(six) => six,
        Err(error) => return eprintln!("SKIPPED: this machine has no IPv6: {error}"),
    };
    lab.serve(ONE);
    lab.log_in("99900", &["1011"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let rings = ["desk", "soft"].map(|phone| lab.phone(phone).rings(SOON));
    let invite = six.rings();
    assert!(invite.starts_with("INVITE sip:1011@[::1]:"), "{invite}");
    rings[0].answer();
    six.cancelled(&invite);
    rings[1].cancelled(SOON);
    rings[0].hang_up();
    caller.over(SOON);
    six.unregister();
}

/// Q8: it rings beside the agent's only phone so far, which the daemon rings without asking FreeSWITCH for contacts.
fn a_phone_that_registers_later_rings_as_well(lab: &Lab) {
    let register = || Six::register("1012", lab.switch.six);
    let first = match register() {
        Ok(first) => first,
        Err(error) => return eprintln!("SKIPPED: this machine has no IPv6: {error}"),
    };
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1012\"], ring_seconds: 5 }\n");
    lab.log_in("99900", &["1012"]);
    let rung = |phones: &[&Six]| {
        let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
        let invites: Vec<String> = phones.iter().map(|phone| phone.rings()).collect();
        caller.hang_up();
        phones.iter().zip(&invites).for_each(|(phone, invite)| phone.cancelled(invite));
        caller.over(SOON);
    };
    rung(&[&first]);
    let second = register().unwrap();
    rung(&[&first, &second]);
    second.unregister();
    first.unregister();
}

/// Q8: softphones that are woken by push messages have such addresses. A phone that cannot be dialled separately keeps
/// none of the others from ringing, and is in the log once.
fn a_phone_with_the_long_address_of_push_messages_rings_with_the_others(lab: &Lab) {
    let address = format!(";pn-provider=fcm;pn-prid={};pn-type=voip&silent", "f0".repeat(300));
    let push = match Six::register_with("1011", lab.switch.six, &address) {
        Ok(push) => push,
        Err(error) => return eprintln!("SKIPPED: this machine has no IPv6: {error}"),
    };
    let odd = Six::register_with("1011", lab.switch.six, ";token=a$b").unwrap();
    lab.serve(ONE);
    lab.log_in("99900", &["1011"]);
    for _ in 0..2 {
        let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
        let rings = ["desk", "soft"].map(|phone| lab.phone(phone).rings(SOON));
        let invite = push.rings();
        assert!(invite.lines().next().unwrap_or_default().contains(&address), "{invite}");
        caller.hang_up();
        push.cancelled(&invite);
        rings.iter().for_each(|ring| drop(ring.cancelled(SOON)));
        caller.over(SOON);
    }
    let told = lab.daemon().log().matches("one of an agent's phones cannot be dialled separately").count();
    assert_eq!(told, 1, "one line, for the phone with a `$` in its address");
    push.unregister();
    odd.unregister();
}

/// Q8: each phone of an agent gets the directory's variables, as a single one does: a dead phone keeps its agent busy for
/// `media_timeout`, not for ever.
fn a_phone_that_dies_in_the_call_is_free_after_the_directorys_media_timeout(lab: &Lab) {
    let agents = [("99900", SHARED[0], &["desk", "soft"][..]), ("99901", LIMITED, &[LIMITED])];
    lab.serve(
        &agents
            .map(|(queue, agent, _)| {
                format!("  - {{ number: \"{queue}\", name: Sales, participants: [\"{agent}\"] }}\n")
            })
            .concat(),
    );
    for (nth, (queue, agent, phones)) in agents.into_iter().enumerate() {
        lab.log_in(queue, &[agent]);
        let caller = lab.call(&From::outside("0791234567", "Hans"), queue);
        let rings: Vec<_> = phones.iter().map(|phone| lab.phone(phone).rings(SOON)).collect();
        rings[0].connects(&caller);
        rings[0].crash();
        let dead = Instant::now();
        caller.byed(MEDIA_TIMEOUT + SOON);
        assert!(dead.elapsed() + Duration::from_millis(500) > MEDIA_TIMEOUT, "ended after {:?}", dead.elapsed());
        let (_, by) = lab.daemon().nth_fact("the end of the conversation", nth, SOON, |fact| match fact {
            Fact::ConversationEnded { by, .. } => Some(*by),
            _ => None,
        });
        assert_eq!(by, EndedBy::Switch);
        caller.over(SOON);
    }
}
