/** Whether Holdfast's own configuration can be read. */
import { isHoldfastError } from '../errors.js';
import { readConfiguration } from '../manager/configuration.js';
import { finding, type Finding } from './finding.js';

/** @param file instead of the usual ones. */
export async function checkConfiguration(file?: string): Promise<Finding[]> {
  try {
    const { files, notes = [] } = await readConfiguration(file === undefined ? {} : { file });
    const what =
      files.length === 0 ? 'there is no configuration file' : `the configuration is ${files.join(' and ')}`;
    return [
      ...notes.map((note) => finding('configuration-passed-over', { what: note })),
      finding('configuration-read', { what }),
    ];
  } catch (error) {
    if (!isHoldfastError(error, 'CONFIG')) throw error;
    return [finding('configuration-wrong', { what: error.message, remedy: error.remedy })];
  }
}
