export interface PlanOptions {
  /** What cannot be locked is skipped, and the plan says so, instead of being refused. */
  readonly allowUnlocked?: boolean;
  /** Notes that cost a look into each image: for people who wrote a command line, not for a program that locks all day. */
  readonly hints?: boolean;
  /**
   * To find out who uses a disk, not to lock it: it need not be readable, and a chain that cannot be followed to
   * its end is a note.
   */
  readonly identityOnly?: boolean;
  /**
   * One name for storage that has several: what the mount table or the XML calls it (`nas-b:/images`, `nas-b`,
   * `mon1,mon2`) to what it shall be called (`nas-a:/images`).
   */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Types of file systems, beside those of the table, that only this host can reach. */
  readonly localFileSystems?: readonly string[];
  /** The program `qemu-img`: its name or path. */
  readonly qemuImg?: string;
  /** Instead of this host's machine-id. */
  readonly hostId?: string;
}
