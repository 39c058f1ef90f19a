//! Several phones of one agent: all ring for an offer, one takes the caller, and it is still one offer.

use std::time::Duration;

use freeswitch_queue::acd::ids::AgentId;
use simswitch::{Behaviour, Phone, Registration};

use crate::house::{House, answers, pass, play};
use crate::log::Log;
use crate::setting::{Queue, configuration, queue};

fn declines(ms: u64) -> Behaviour {
    Behaviour::Decline { after: Duration::from_millis(ms) }
}

/// The two phones of 1001.
fn both(house: &House) -> (Phone, Phone) {
    (house.phone("1001"), house.phone("1001#soft"))
}

fn service() -> Queue {
    queue("99900", &["1001", "1002"]).with("ring_seconds: 8")
}

/// Q8: all phones of an agent ring, the first that answers takes the caller, the others stop without a missed call, and
/// the agent's part ends with the conversation.
#[test]
fn q8_the_first_phone_to_answer_takes_the_caller() {
    play(async {
        let house = House::open(&[service().with("wrap_up_seconds: 3")]);
        let (desk, soft) = both(&house);
        let hans = house.caller("0791", "99900");
        assert_eq!(desk.wait_ringing().await.number, "0791");
        assert_eq!(soft.wait_ringing().await.name, desk.rings()[0].name, "Q17: both phones show the same name");
        pass(500).await;
        assert!(soft.answer());
        assert_eq!(hans.wait_talking().await, "1001#soft");
        desk.wait_idle().await;
        assert_eq!(desk.view().missed, [], "nothing was missed");
        pass(5_000).await;
        assert_eq!(soft.wait_talking().await, "0791", "the other phone's end does not touch the conversation");
        assert_eq!(house.activity("1001"), "talking");
        assert!(soft.hang_up());
        assert_eq!(hans.wait_ended().await, "NORMAL_CLEARING");
        let story = house.end().await.story();
        let whole = [
            "0791 enters 99900",
            "1001 is offered 0791",
            "1001 answers 0791",
            "1001 and 0791 end: agent",
            "1001 wraps up",
            "1001 is ready",
        ];
        assert_eq!(story, whole);
    });
}

/// Q8: the daemon rings an agent with one phone without asking FreeSWITCH for its contacts first; a phone that
/// registers later rings as well, and a phone that registers again counts once.
#[test]
fn q8_a_phone_that_registers_later_rings_as_well() {
    play(async {
        let house = House::open(&[service()]);
        let (desk, soft) = both(&house);
        let has_one = || house.daemon().floor().phones().known(&AgentId::new("1001").unwrap()).is_some();
        soft.set_registration(Registration::Unregistered);
        for _ in 0..2 {
            let hans = house.caller("0791", "99900");
            desk.wait_ringing().await;
            assert!(has_one());
            hans.hang_up();
            desk.wait_idle().await;
            desk.set_registration(Registration::Registered);
            pass(1_000).await;
        }
        soft.set_registration(Registration::Registered);
        pass(100).await;
        assert!(!has_one());
        let hans = house.caller("0791", "99900");
        desk.wait_ringing().await;
        soft.wait_ringing().await;
        hans.hang_up();
        soft.wait_idle().await;
        // The phone unregisters and then registers again, as the last of the two.
        soft.set_registration(Registration::Unregistered);
        pass(100).await;
        let hans = house.caller("0791", "99900");
        desk.wait_ringing().await;
        assert!(has_one() && !soft.is_ringing());
        hans.hang_up();
        desk.wait_idle().await;
        soft.set_registration(Registration::Registered);
        pass(100).await;
        let hans = house.caller("0791", "99900");
        desk.wait_ringing().await;
        soft.wait_ringing().await;
        hans.hang_up();
        house.end().await;
    });
}

/// Q7: the offer stands while one phone rings, whatever the others do; it is missed once, when none rings any more.
#[test]
fn q7_an_offer_stands_while_one_phone_rings() {
    play(async {
        let house = House::open(&[service()]);
        let (desk, soft) = both(&house);
        let (_desk, _soft) = (desk.on_ring(declines(300)), soft.on_ring(answers(2_000)));
        let hans = house.caller("0791", "99900");
        assert_eq!(hans.wait_talking().await, "1001#soft");
        hans.hang_up();
        house.when_rung("1001#soft", Behaviour::Ignore);
        house.when_rung("1002", answers(500));
        house.phone("1001#soft").wait_idle().await;
        pass(1_000).await;
        let eva = house.caller("0792", "99900");
        assert_eq!(eva.wait_talking().await, "1002");
        eva.hang_up();
        let book = house.end().await;
        assert_eq!(book.story_of(&["misses", "offered 0791"]), ["1001 is offered 0791", "1001 misses 0792: declined"]);
        let rang = book.when("1001 misses 0792: declined") - book.when("1001 is offered 0792");
        assert!((7_000..=8_100).contains(&rang), "the other phone rang for {rang} ms");
    });
}

/// Q7: when all phones refuse, the next agent is rung at once; when none is registered, no phone rings.
#[test]
fn q7_an_offer_that_every_phone_refuses_moves_on() {
    play(async {
        let house = House::open(&[service()]);
        let (desk, soft) = both(&house);
        let (desk, soft) = (desk.on_ring(Behaviour::Busy), soft.on_ring(declines(900)));
        let hans = house.caller("0791", "99900");
        house.take("1002").await;
        hans.hang_up();
        house.phone("1002").wait_idle().await;
        desk.set_registration(Registration::Unregistered);
        soft.set_registration(Registration::Unregistered);
        pass(6_000).await;
        let eva = house.caller("0792", "99900");
        house.take("1002").await;
        eva.hang_up();
        house.phone("1002").wait_idle().await;
        soft.set_registration(Registration::Registered);
        pass(6_000).await;
        let third = house.caller("0793", "99900");
        soft.on_ring(Behaviour::Manual).wait_ringing().await;
        third.hang_up();
        let book = house.end().await;
        let missed = ["1001 misses 0791: declined", "1001 misses 0792: not registered"];
        assert_eq!(book.story_of(&["misses"]), missed);
        assert_eq!(book.when("1001 misses 0791: declined"), book.when("1002 is offered 0791"));
    });
}

/// Q8: of two phones of one agent that answer at the same instant, one takes the caller and the other is hung up.
#[test]
fn q8_two_phones_answered_at_once() {
    play(async {
        for later in [0, 1, 4, 19, 30] {
            let house = House::open(&[service()]);
            let (desk, soft) = both(&house);
            let (desk, soft) = (desk.on_ring(answers(500)), soft.on_ring(answers(500 + later)));
            let hans = house.caller("0791", "99900");
            hans.wait_talking().await;
            pass(2_000).await;
            let talking = [&desk, &soft].into_iter().filter(|p| p.view().talks_to().is_some()).count();
            assert_eq!(talking, 1, "{later} ms later");
            hans.hang_up();
            let book = house.end().await;
            assert_eq!(book.story_of(&["answers", "end"]), ["1001 answers 0791", "1001 and 0791 end: caller"]);
        }
    });
}

/// Q8: no phone keeps ringing when the caller hangs up, the agent logs out, another agent answers, or the wait ends.
#[test]
fn q8_every_phone_stops() {
    play(async {
        let house = House::open(&[service().with("strategy: simultaneous").with("max_wait_minutes: 0.1")]);
        let (desk, soft) = both(&house);
        let other = house.phone("1002#soft");
        let ringing = async |number: &str| {
            let caller = house.caller(number, "99900");
            for phone in [&desk, &soft, &other] {
                assert_eq!(phone.wait_ringing().await.number, number);
            }
            caller
        };
        let quiet = async || {
            for phone in [&desk, &soft, &other, &house.phone("1002")] {
                phone.wait_idle().await;
            }
        };
        ringing("0791").await.hang_up();
        quiet().await;
        let timed_out = ringing("0792").await;
        timed_out.wait_ended().await;
        quiet().await;
        let missed = desk.view().missed.len();
        let third = ringing("0793").await;
        house.log_out("1001", "99900");
        desk.wait_idle().await;
        soft.wait_idle().await;
        assert!(other.is_ringing());
        assert!(other.answer());
        assert_eq!(third.wait_talking().await, "1002#soft");
        assert_eq!(desk.view().missed.len(), missed, "the logout was no missed call");
        assert!(other.blind_transfer("1009"));
        house.switch.wait_until(|_| house.activity("1002") == "idle").await;
        third.hang_up();
        house.log_in("1001", "99900");
        let fourth = ringing("0794").await;
        assert!(house.phone("1002").answer());
        assert_eq!(fourth.wait_talking().await, "1002");
        quiet_but(&[&desk, &soft, &other]).await;
        fourth.hang_up();
        let book = house.end().await;
        assert_eq!(book.story_of(&["1002 and"]), ["1002 and 0793 end: transfer", "1002 and 0794 end: caller"]);
    });
}

async fn quiet_but(phones: &[&Phone]) {
    for phone in phones {
        phone.wait_idle().await;
    }
}

/// Q19: the daemon is killed while two phones of one agent ring, and again while one of them talks.
#[test]
fn q19_several_phones_outlive_the_daemon() {
    play(async {
        let house = House::durable("several-phones", &[service()]);
        let (desk, soft) = both(&house);
        let hans = house.caller("0791", "99900");
        desk.wait_ringing().await;
        soft.wait_ringing().await;
        house.kill().await;
        house.start_again();
        house.switch.wait_until(|_| desk.rings().len() == 2 && soft.rings().len() == 2).await;
        assert_eq!((desk.view().ringing.len(), soft.view().ringing.len()), (1, 1));
        pass(300).await;
        assert!(soft.answer());
        assert_eq!(hans.wait_talking().await, "1001#soft");
        house.kill().await;
        house.start_again();
        pass(5_000).await;
        assert_eq!(house.activity("1001"), "talking");
        desk.wait_idle().await;
        assert!(soft.hang_up());
        hans.wait_ended().await;
        pass(5_000).await;
        assert_eq!(house.activity("1001"), "idle");
        house.end().await;
    });
}

/// Q8, Q19: the daemon dies in the instant one of two phones answers: the other stops ringing.
#[test]
fn q19_the_other_phone_stops_though_the_daemon_died() {
    play(async {
        let house = House::durable("other-phone", &[service()]);
        let (desk, soft) = both(&house);
        let hans = house.caller("0791", "99900");
        desk.wait_ringing().await;
        soft.wait_ringing().await;
        assert!(desk.answer());
        assert_eq!(hans.wait_talking().await, "1001");
        // The events of the answer are not sent yet.
        house.kill().await;
        assert!(soft.is_ringing());
        house.start_again();
        soft.wait_idle().await;
        pass(4_000).await;
        assert_eq!(desk.wait_talking().await, "0791");
        assert_eq!(house.activity("1001"), "talking");
        hans.hang_up();
        house.end().await;
    });
}

/// Q8: the contact of a softphone that is woken by push messages is longer than others and has an `&`; a contact that
/// cannot be dialled does not keep the others from ringing.
#[test]
fn q8_every_phone_that_can_be_dialled_rings() {
    play(async {
        let house = House::open(&[service()]);
        let (desk, soft) = both(&house);
        let odd = house.phone("1001#odd");
        soft.set_contact_params(&format!(";pn-provider=apns;pn-prid={}&remote", "0a".repeat(300)));
        odd.set_contact_params(";x=${system(id)}");
        let (log, listening) = Log::begin();
        let hans = house.caller("0791", "99900");
        desk.wait_ringing().await;
        soft.wait_ringing().await;
        pass(1_000).await;
        assert!(!odd.is_ringing());
        hans.hang_up();
        desk.wait_idle().await;
        soft.wait_idle().await;
        let hans = house.caller("0791", "99900");
        desk.wait_ringing().await;
        hans.hang_up();
        desk.wait_idle().await;
        drop(listening);
        let told = log.text().matches("one of an agent's phones cannot be dialled separately").count();
        assert_eq!(told, 1, "{}", log.text());
        house.end().await;
    });
}

/// Q8: the directory's settings for a user apply to each of the user's phones, as they do through `user/`.
#[test]
fn q8_the_directory_reaches_every_phone() {
    play(async {
        let directory = vec![("media_timeout".into(), "5000".into()), ("odd".into(), "a'b".into())];
        let switch = simswitch::Config { directory, ..simswitch::Config::default() };
        let house = House::with(switch, configuration(&[service()], ""), 1);
        let (desk, soft) = both(&house);
        let hans = house.caller("0791", "99900");
        desk.wait_ringing().await;
        soft.wait_ringing().await;
        assert!(soft.answer());
        hans.wait_talking().await;
        let leg = house.switch.legs().into_iter().find(|leg| leg.answered && leg.who == "phone 1001#soft").unwrap();
        assert_eq!(house.switch.variable(&leg.uuid, "media_timeout").as_deref(), Some("5000"));
        assert_eq!(house.switch.variable(&leg.uuid, "odd"), None);
        hans.hang_up();
        house.end().await;
    });
}

/// Q17: the display keeps the stars of a number.
#[test]
fn q17_a_number_keeps_its_stars() {
    play(async {
        let house = House::open(&[service()]);
        let hans = house.caller("100*2", "99900");
        assert_eq!(house.phone("1001").wait_ringing().await.number, "100*2");
        hans.hang_up();
        house.end().await;
    });
}
