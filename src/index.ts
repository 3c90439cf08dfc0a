/** The public surface: re-exports, no logic. */
export type { ManagerOptions } from './manager/chosen-drivers.js';
export { openManager, type Manager } from './manager/open-manager.js';
export { lockDisks, lockDomain, plan, who, type CallOptions } from './manager/one-call.js';
export type { CheckedPlan, ResourceState } from './manager/check-plan.js';
export type { DescribedDriver } from './manager/driver-abilities.js';
export { readConfiguration, type Configuration } from './manager/configuration.js';
export type { DaemonSettings, LogLevel } from './manager/daemon-settings.js';
export type {
  DiskInput,
  GuestInput,
  GuestParts,
  LibvirtDomain,
  PlannedRequests,
} from './manager/guest-input.js';
export type { Hold } from './manager/hold.js';
export type { ListedHold, ListedProcess } from './manager/list-holds.js';
export type { LockOptions, OwnerProcess, Waiting } from './manager/lock-options.js';
export { listWithDaemon, listWithoutDaemon, type ListedAnywhere } from './manager/list-with-daemon.js';
export { withLockedGuests } from './manager/locked-guests.js';
export { inputForDaemon } from './manager/input-for-daemon.js';
export type { BrokenLock, DeathOfHost } from './manager/cluster-locks.js';
export { openClusterDriver, type ClusterDriver, type ClusterGuest } from './manager/cluster-driver.js';
export { openDaemon, type OpenDaemonOptions } from './manager/open-daemon.js';
export type { DaemonClient, DaemonLockOptions } from './daemon-client/daemon-client.js';
export type { DaemonDriver, DaemonGuest, DaemonHold, DaemonLock } from './daemon-client/daemon-answers.js';
export type { SavedHold } from './manager/saved-hold.js';
export {
  makeLease,
  parseLeaseArea,
  parseLeasePlace,
  readLeases,
  type LeaseOptions,
} from './manager/lease-areas.js';
export { readLeaseSize } from './input/lease-words.js';
export { runInPlace } from './manager/run-in-place.js';
export type { LookOptions, ResourceUse } from './manager/who.js';
export { startGuardEarly, superviseCommand, type SuperviseOptions } from './manager/supervise.js';
export { becomeCommand, findCommand, requireFaithfulArguments } from './system/exec.js';
export { isReaderGone } from './system/reader-gone.js';
export { takeLaunchState, type LaunchState } from './system/launch-state.js';
export {
  examineHost,
  type ExamineOptions,
  type Finding,
  type FindingId,
  type FindingLevel,
} from './doctor/examine-host.js';
export {
  defineDriver,
  type AcquireProgress,
  type BreakProof,
  type ClusterHold,
  type ClusterLock,
  type Driver,
  type DriverAbout,
  type DriverFactory,
  type DriverSettings,
  type FoundLeaseArea,
  type Grant,
  type LeaseArea,
  type LeaseHost,
  type LeasePlace,
  type MadeLeaseArea,
  type Offer,
} from './driver/contract.js';
export type { FoundDriver, ListedDriver } from './driver/discovery.js';
export { errorCodes, HoldfastError, isHoldfastError } from './errors.js';
export { compatible, modes } from './vocabulary.js';
export type {
  AskedMode,
  ErrorCode,
  Holder,
  LeaseDescription,
  LockRequest,
  Loss,
  LossAction,
  Mode,
  Owner,
  OwnerDescription,
  Place,
  Plan,
  PlanItem,
  Resource,
  Role,
} from './vocabulary.js';
