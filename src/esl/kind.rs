//! The names of events.

use super::named::named;

named! {
    /// The kind of an event, by its `Event-Name`.
    EventKind {
        /// An application ended.
        ChannelExecuteComplete = "CHANNEL_EXECUTE_COMPLETE",
        /// An application started.
        ChannelExecute = "CHANNEL_EXECUTE",
        /// A channel was created.
        ChannelCreate = "CHANNEL_CREATE",
        /// A channel no longer exists.
        ChannelDestroy = "CHANNEL_DESTROY",
        /// A channel's state changed.
        ChannelState = "CHANNEL_STATE",
        /// A channel's call state changed.
        ChannelCallstate = "CHANNEL_CALLSTATE",
        /// An outgoing channel is being set up.
        ChannelOriginate = "CHANNEL_ORIGINATE",
        /// An outgoing channel is about to be set up.
        ChannelOutgoing = "CHANNEL_OUTGOING",
        /// The far end rings.
        ChannelProgress = "CHANNEL_PROGRESS",
        /// The far end sends early media.
        ChannelProgressMedia = "CHANNEL_PROGRESS_MEDIA",
        /// The channel was answered.
        ChannelAnswer = "CHANNEL_ANSWER",
        /// Two channels were bridged.
        ChannelBridge = "CHANNEL_BRIDGE",
        /// The bridge of two channels ended.
        ChannelUnbridge = "CHANNEL_UNBRIDGE",
        /// The channel was hung up.
        ChannelHangup = "CHANNEL_HANGUP",
        /// The channel was hung up and its record is complete.
        ChannelHangupComplete = "CHANNEL_HANGUP_COMPLETE",
        /// The channel was parked: it waits for commands.
        ChannelPark = "CHANNEL_PARK",
        /// The channel is no longer parked.
        ChannelUnpark = "CHANNEL_UNPARK",
        /// The far end put the channel on hold.
        ChannelHold = "CHANNEL_HOLD",
        /// The far end took the channel off hold.
        ChannelUnhold = "CHANNEL_UNHOLD",
        /// The state of a channel, as `connect` and `uuid_dump` give it.
        ChannelData = "CHANNEL_DATA",
        /// A key was pressed.
        Dtmf = "DTMF",
        /// A `bgapi` command ended.
        BackgroundJob = "BACKGROUND_JOB",
        /// Playback of a file started.
        PlaybackStart = "PLAYBACK_START",
        /// Playback of a file ended.
        PlaybackStop = "PLAYBACK_STOP",
        /// Somebody subscribed to the state of an entity.
        PresenceProbe = "PRESENCE_PROBE",
        /// The state of an entity.
        PresenceIn = "PRESENCE_IN",
        /// FreeSWITCH is alive; sent every 20 s.
        Heartbeat = "HEARTBEAT",
        /// FreeSWITCH is shutting down.
        Shutdown = "SHUTDOWN",
        /// An event of a module, identified by `Event-Subclass`.
        Custom = "CUSTOM",
    } else "An event without a member here."
}

impl EventKind {
    /// Whether a session that misses it would stay wrong. Such events are never dropped.
    pub fn is_essential(self) -> bool {
        matches!(
            self,
            Self::ChannelAnswer
                | Self::ChannelBridge
                | Self::ChannelUnbridge
                | Self::ChannelHangup
                | Self::ChannelHangupComplete
                | Self::ChannelDestroy
                | Self::ChannelPark
                | Self::ChannelExecuteComplete
                | Self::BackgroundJob
                | Self::Shutdown
        )
    }
}
