/**
 * The front door of `input/`: XML, a libvirt domain or arguments become a description of the guest.
 * The manager loads it only when there is XML to read; who names disks by path pays for no reader of XML.
 */
export { combineGuests, type InputParts } from './combine-guests.js';
export { dumpDomain } from './dump-domain.js';
export { parseDiskArgument, parseLeaseArgument } from './parse-arguments.js';
export { readDomainXml } from './read-domain.js';
export { readDomainXmlFile, readXmlText } from './read-xml-file.js';
export { resolveVolumes } from './resolve-volumes.js';
