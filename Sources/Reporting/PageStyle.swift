// Owns how a page looks: on a desk, on a phone, on paper, by day and by night.
//
// It must never name a file or a font that is not on the reader's machine, and never hold `<` or `&`.

enum PageStyle {
  static let sheet: StaticString = """

    :root {
      color-scheme: light dark;
      --paper: #ffffff; --card: #f6f7f9; --ink: #1b2027; --soft: #5a6472; --rule: #dde1e7;
      --s1: #1f6fd1; --s2: #b65c06; --s3: #0d7d6c; --good: #17703a; --doubt: #8f5800; --bad: #b3261e;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --paper: #14171c; --card: #1d2229; --ink: #e8ebf0; --soft: #9ba6b5; --rule: #323a45;
        --s1: #6cabff; --s2: #f0a35e; --s3: #4fc9b4; --good: #5fce8b; --doubt: #f0b656; --bad: #ff8a80;
      }
    }
    * { box-sizing: border-box; }
    body {
      margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 56rem; background: var(--paper); color: var(--ink);
      font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
      font-variant-numeric: tabular-nums; overflow-wrap: anywhere; -webkit-text-size-adjust: 100%;
    }
    header { border-bottom: 1px solid var(--rule); padding-bottom: 1.25rem; }
    h1 { display: flex; flex-wrap: wrap; align-items: center; gap: .35em .6em; margin: 0; font-size: 1.9rem;
      line-height: 1.2; }
    h2 { margin: 2.75rem 0 .75rem; font-size: 1.2rem; line-height: 1.3; }
    h3 { margin: 1.75rem 0 .25rem; font-size: 1rem; }
    p { margin: .5rem 0; }
    a { color: var(--s1); }
    .verdict { font-size: 1rem; font-weight: 650; padding: .2em .7em; border-radius: 99px; border: 1.5px solid; }
    .valid { color: var(--good); } .invalid { color: var(--doubt); } .failed { color: var(--bad); }
    .reasons { margin: 1rem 0; padding: .1rem 0 .1rem 1rem; border-left: 4px solid; list-style: none; }
    .reasons li { margin: .4rem 0; } .reasons span { color: var(--ink); }
    .soft, .note, figcaption { color: var(--soft); }
    .note, figcaption { font-size: .875rem; }
    .cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .6rem; margin: 1.25rem 0; }
    .cards div { background: var(--card); border-radius: .5rem; padding: .7rem .9rem; }
    .cards dt { color: var(--soft); font-size: .875rem; }
    .cards dd { margin: 0; font-size: 1.35rem; font-weight: 600; line-height: 1.3; }
    .cards dd + dd { color: var(--soft); font-size: .8125rem; font-weight: 400; }
    table { border-collapse: collapse; overflow-wrap: normal; }
    th, td { padding: .35rem 0 .35rem 2.5rem; text-align: right; border-bottom: 1px solid var(--rule); }
    th { color: var(--soft); font-weight: 400; }
    thead th { font-size: .875rem; vertical-align: bottom; }
    th:first-child { padding-left: 0; text-align: left; }
    time { white-space: nowrap; }
    .facts { display: grid; grid-template-columns: minmax(8rem, 14rem) 1fr; margin: .5rem 0; }
    .facts dt, .facts dd { margin: 0; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--rule); }
    .facts dt { color: var(--soft); }
    .error { margin: .75rem 0; padding: .6rem .9rem; background: var(--card); border-left: 4px solid var(--bad);
      border-radius: 0 .4rem .4rem 0; }
    .error p { margin: 0; }
    .message { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .875rem;
      white-space: pre-wrap; unicode-bidi: isolate; }
    figure { margin: 0; }
    svg { display: block; width: 100%; height: auto; overflow: visible; }
    svg.narrow { display: none; }
    svg text { font-size: 12px; fill: var(--soft); }
    .end { text-anchor: end; } .middle { text-anchor: middle; }
    .grid { stroke: var(--rule); } .axis { stroke: var(--soft); }
    .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
    .band { fill: var(--s3); opacity: .18; }
    .stages { width: 100%; } .stages .way { width: 40%; } .stages td { white-space: nowrap; padding-left: 1rem; } .stages svg { height: .9rem; } .bar { fill: var(--s1); }
    .scroll { overflow-x: auto; }
    .scroll th, .scroll td { padding-left: 1.75rem; }
    .scroll th:first-child { padding-left: 0; }
    .scroll td:not(:last-child) { white-space: nowrap; }
    .dotted { stroke-dasharray: 1 5; }
    .s1 { stroke: var(--s1); } .s2 { stroke: var(--s2); } .s3 { stroke: var(--s3); } .bad { stroke: var(--bad); }
    .ref { stroke: var(--soft); stroke-width: 1.25; stroke-dasharray: 5 4; }
    svg .name { font-weight: 600; stroke: none; stroke-dasharray: none; }
    svg .name.s1, .dot.s1 { fill: var(--s1); } svg .name.s2, .dot.s2 { fill: var(--s2); }
    svg .name.s3, .dot.s3 { fill: var(--s3); } svg .name.bad, .dot.bad { fill: var(--bad); }
    footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
    @media (max-width: 40rem) {
      body { padding: 1.25rem 1rem 3rem; }
      h1 { font-size: 1.6rem; }
      .cards { grid-template-columns: 1fr 1fr; }
      .cards dd { font-size: 1.2rem; }
      .facts { grid-template-columns: minmax(6rem, 9rem) 1fr; }
      table { width: 100%; }
      th, td, .scroll th, .scroll td { padding-left: .75rem; }
      .scroll table { font-size: .875rem; }
      svg.wide { display: none; } svg.narrow { display: block; }
    }
    @media print {
      body { max-width: none; padding: 0; } .cards div, .error { border: 1px solid var(--rule); }
      figure, .cards { break-inside: avoid; }
    }

    """
}
