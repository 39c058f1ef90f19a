//! Q38, Q44 over the daemon's death: who comes back to a place is let in, whatever the limit.

use simswitch::Behaviour;

use crate::site::{Site, pass, play, setting};

/// Q19, Q38: a caller whom the dialplan held while the daemon was away is not refused by a full queue, whether there
/// was a place before the death or not; a new caller is, also before the others are back.
#[test]
fn q38_a_caller_who_was_held_is_never_refused() {
    play(async {
        let site = Site::linked(setting(&[r#"number: "99900", participants: ["1001", "1002"], max_callers: 2"#])).await;
        for agent in ["1001", "1002"] {
            site.when_rung(agent, Behaviour::Busy);
        }
        let first = ["0791", "0792"].map(|number| site.caller(number, "99900"));
        pass(10_000).await;
        site.kill().await;
        let meanwhile = site.caller("0793", "99900");
        pass(7_300).await;
        site.start();
        pass(20).await;
        let new = site.caller("0794", "99900");
        new.wait_ended().await;
        pass(3_000).await;
        assert_eq!(site.line("99900"), ["0791", "0792", "0793"]);
        first.iter().chain([&meanwhile]).for_each(simswitch::Caller::hang_up);
        pass(1_000).await;
        let book = site.end().await;
        assert_eq!(book.story_of(&["refused"]), ["0794 is refused by 99900: full"]);
    });
}
