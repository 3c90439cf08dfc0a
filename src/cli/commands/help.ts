import { helpData } from '../help-data.js';
import { commandNamed, type Parsed } from '../parse-arguments.js';
import { renderCommandHelp, renderMarkdown, renderOverview } from '../render-help.js';
import { styleFor } from '../style.js';
import { writeOut } from '../write.js';

/** `holdfast help [COMMAND]`. */
export function help({ options, operands }: Parsed): number {
  const [topic] = operands;
  if (options.has('json')) writeOut(`${JSON.stringify(helpData(topic), null, 2)}\n`);
  else if (options.has('markdown')) writeOut(renderMarkdown());
  else if (topic === undefined) writeOut(overview(1));
  else writeOut(renderCommandHelp(commandNamed(topic), styleFor(1)));
  return 0;
}

/** What there is, in the style for a descriptor. */
export function overview(fd: number): string {
  return renderOverview(styleFor(fd));
}
