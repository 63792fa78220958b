"""The dashboard of `studio ui`. This is what the server and the scripts of its pages have agreed on.

Pages: HTML by Jinja2, whole without JavaScript; class names are those of the design. Each has `<script type="module"
src="/static/page.js">` and `<script type="application/json" id="page-data">` with

    page      projects | project | experiment | compare | none
    token     to be sent as the header X-Studio-Token with every POST
    project   the name, on all pages but the list;  number, on the page of one experiment;  numbers, on compare
    version   of the record, as the page shows it; streams and tables go on from there
    summary   as /api/p/NAME/summary          columns   as in /api/p/NAME/experiments
    states    state of a search -> its word;  statuses, the same of an experiment: the pages have no words of their own
    vendor    whether /vendor/uplot.js and /vendor/echarts.js are there (`npm ci` in core/dashboard puts them into core/dashboard/vendor)

    GET /                          projects: main#projects, table#rows
    GET /p/NAME                    ?sort=KEY,-KEY&status=failed&page=2: section#strip, #charts, #slots, #experiments with table#rows
                                   (200 rows a page, `tr[data-number]`, `td[data-key]`), aside#inspector, dialog#ask
    GET /p/NAME/N                  one experiment: section#values #curve #diff #log #files #attempts #environment
    GET /p/NAME/compare?e=1,2      two to five side by side: section#compare, #curves, #diffs, #logs
    GET /static/FILE               core/dashboard/static          GET /vendor/FILE     core/dashboard/vendor
    GET /p/NAME/N/files/PATH       download of one file of the latest attempt (?attempt=2 for another)
    GET /p/NAME/tensorboard        starts TensorBoard on the project and leads there

Data, as JSON. Times are seconds since the epoch, durations seconds. VERSION is an opaque text; one that the server does not
know (it was started again) means everything.

    /api/projects?after=VERSION    {version, whole: bool, projects: [{name, state, metric, mode, direction, best, best_number, values,
                                   counts, total, finished, size, begun, changed, optimizer, script, cost: dollars or null, problem}],
                                   gone: [NAME]}
    /api/p/NAME/summary            {project, state, metric, mode, direction: min|max, sign, best: {number, value, values, ago} or null,
                                   counts: {status: n}, total, finished, size (budget, or null), elapsed (all
                                   sessions, without pauses), left (seconds or null), refused: {ACTION: why it cannot be done, or ""},
                                   rate (a minute), slots, busy, optimizer, backend, script, arguments, seed, parameters, begun, ended,
                                   max_time, failures: [{reason, numbers, count, shared: "width ≥ 896" or ""}]}
                                   state: running | paused | incomplete | done | time | exhausted | failures | disk | stopped |
                                   interrupted | failed | damaged, words: `studio.dashboard.pages.STATES`; ended: a program's own loop
    /api/p/NAME/experiments?after=VERSION
                                   {version, whole: bool, columns, sign, number: [], status: [], fitness: [], metric: {NAME: []},
                                   values: {NAME: []}, started: [], finished: [], duration: [], slot: [], reason: [], failure: [],
                                   attempts: [], exit_code: [], step: [], cost: [] in dollars, of all attempts}
                                   columns: [{key, kind: "param"|"metric"|"state", label, log, choices: [] or null, integer, array: length
                                   or 0, min, max}]; keys of parameters are their names as they are, `metric.NAME` the metric's, the
                                   others the names of the lists. Without `whole` only rows that changed since VERSION, to be put over
                                   those with their number. An array's value is its Euclidean norm here. Floats have 8 digits; with all of
                                   theirs they come with one experiment
    /api/p/NAME/curves?e=1,2&most=200
                                   {metric, curves: {NUMBER: {step: [], value: []}}}; at most 200 numbers, `most` points each
    /api/p/NAME/band?most=64       {step: [], low: [], middle: [], high: [], count: n}: quartiles over finished experiments
    /api/p/NAME/importance         {method, count, explained: R² or null, leader: NAME or "", parameters: [{name, importance, low, high,
                                   correlation, trend: 1 (larger is better), -1, 0 (not clear), chance, clear: bool}], note}.
                                   chance: that noise looks so important; clear: < 5 %
    /api/p/NAME/N                  {number, status, values, fitness, metric, reached: what it was before it failed, rank, ranked,
                                   started, finished, duration, slot, exit_code,
                                   reason, failure, attempt, attempts: [], command, winning: text to copy,
                                   diff: [{path, lines: [{kind: " +-", line, text}]}], files: [{path, size, url}],
                                   environment: {NAME: text}, resources: {NAME: text}, log: {size, text: last lines}}
    /api/p/NAME/N/log              ?from=OFFSET&max=BYTES (0, 65536) or ?tail=BYTES: {text, from, next, size, running}; raw text, ANSI in it
                                   ?search=TEXT&from=OFFSET: {matches: [{from, line, text}], next: OFFSET or null when all was seen}
    /api/p/NAME/export.csv .json   all experiments, as `studio runs list --json` has them
    /api/p/NAME/events?after=VERSION
                                   server-sent events. `event: change`, id VERSION, data {version, summary, experiments}: the last as from
                                   /experiments?after=, or null where it is large: fetch it. `event: gone` when the project was removed.
                                   A comment every 15 s
    /api/events?after=VERSION      the same for the list: `event: change`, data as from /api/projects?after=

    POST /api/p/NAME/actions/pause {}             no new experiments; running ones go on
    POST /api/p/NAME/actions/go {}                go on, after a pause or an end
    POST /api/p/NAME/actions/stop {numbers: []}   the whole search, or these experiments
    POST /api/p/NAME/actions/retry {numbers: []}  these, or all that failed
    POST /api/p/NAME/actions/budget {experiments: N, time: "30m"}   to be added; one of them or both
    POST /api/p/NAME/actions/queue {values: {NAME: value or text}}  run these values next; left out ones are the best's
    POST /api/p/NAME/export.csv {numbers: []}     a CSV of these experiments, in this order: what a page shows

Answers: 200 {ok: text} or 4xx {error: text}. 403 without the cookie, from a foreign Host or Origin, or without the token.

Files: columns elapsed experiment_table view summary project_list (the record, kept in memory), curves logs run_files usage
experiment_details importance (files of runs), pages (HTML), events (streams), actions tensorboard (what buttons start),
open_projects (caches), access (who may ask), asked answers app (addresses), server.
"""
