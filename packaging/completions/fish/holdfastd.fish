# Written by scripts/write-completions.mjs out of the table of commands.

complete -c holdfastd -f
complete -c holdfastd -l config -r -F -d 'Read this configuration and no other'
complete -c holdfastd -l driver -x -a '(holdfast drivers 2>/dev/null | sed \'1d; s/ .*//\')' -d 'The drivers that holds of the API are locked with, in this order, joined by commas'
complete -c holdfastd -l on-lost -x -a 'poweroff pause ignore' -d 'What happens to guests, and owners of holds, whose lock in a cluster is lost'
complete -c holdfastd -l lockd-socket -r -F -d 'Where libvirt looks for its lock daemon'
complete -c holdfastd -l api-socket -r -F -d 'Where everybody else does'
complete -c holdfastd -l socket-dir -x -a '(__fish_complete_directories)' -d 'Both sockets in this directory'
complete -c holdfastd -l group -x -a '(__fish_complete_groups)' -d 'Members of this group may look, and lock nothing'
complete -c holdfastd -l take-over -d 'Take the sockets and all that is held over from the holdfastd that runs, and let it end'
complete -c holdfastd -l log-level -x -a 'fatal error warn info debug trace' -d 'How much is logged'
complete -c holdfastd -l check -d 'Check configuration and options, print what would be done, and start nothing'
complete -c holdfastd -l json -d 'Print errors as data'
complete -c holdfastd -s h -l help -d 'Print the help of this command'
