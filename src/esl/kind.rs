//! The names of events.

use super::named::named;

named! {
    /// What an event is about, by its `Event-Name`.
    EventKind {
        /// An application ended.
        ChannelExecuteComplete = "CHANNEL_EXECUTE_COMPLETE",
        /// An application began.
        ChannelExecute = "CHANNEL_EXECUTE",
        /// A channel came to be.
        ChannelCreate = "CHANNEL_CREATE",
        /// A channel is gone for good.
        ChannelDestroy = "CHANNEL_DESTROY",
        /// A channel's state changed.
        ChannelState = "CHANNEL_STATE",
        /// A channel's call state changed.
        ChannelCallstate = "CHANNEL_CALLSTATE",
        /// A channel is being placed.
        ChannelOriginate = "CHANNEL_ORIGINATE",
        /// A channel is about to be placed.
        ChannelOutgoing = "CHANNEL_OUTGOING",
        /// The far end rings.
        ChannelProgress = "CHANNEL_PROGRESS",
        /// The far end rings and sends sound.
        ChannelProgressMedia = "CHANNEL_PROGRESS_MEDIA",
        /// The channel was answered.
        ChannelAnswer = "CHANNEL_ANSWER",
        /// Two channels were connected.
        ChannelBridge = "CHANNEL_BRIDGE",
        /// Two channels were parted.
        ChannelUnbridge = "CHANNEL_UNBRIDGE",
        /// The channel was hung up.
        ChannelHangup = "CHANNEL_HANGUP",
        /// The channel was hung up and its record is complete.
        ChannelHangupComplete = "CHANNEL_HANGUP_COMPLETE",
        /// The channel waits for commands.
        ChannelPark = "CHANNEL_PARK",
        /// The channel no longer waits for commands.
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
        /// Playing a file began.
        PlaybackStart = "PLAYBACK_START",
        /// Playing a file ended.
        PlaybackStop = "PLAYBACK_STOP",
        /// Somebody subscribed to the state of an entity.
        PresenceProbe = "PRESENCE_PROBE",
        /// The state of an entity.
        PresenceIn = "PRESENCE_IN",
        /// A sign of life, every 20 s.
        Heartbeat = "HEARTBEAT",
        /// FreeSWITCH is going down.
        Shutdown = "SHUTDOWN",
        /// An event of a module, told apart by `Event-Subclass`.
        Custom = "CUSTOM",
    } else "An event this project has no word for."
}

impl EventKind {
    /// Whether a session that misses it would be wrong for good. These are never dropped.
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
