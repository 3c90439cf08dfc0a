/** The threads of the daemon that keep things. */
export const channelNames = ['lockd', 'api'] as const;
export type ChannelName = (typeof channelNames)[number];
