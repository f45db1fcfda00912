{
  const unpacked = (node) => {
    const bytes = Uint8Array.from(atob(node.textContent), (one) => one.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
  };
  const scripts = new Map();
  const start = async (frame) => {
    const packed = document.querySelector(`script[data-frame="${frame.id}"]`);
    const {script, policy} = packed.dataset;
    if (!scripts.has(script)) scripts.set(script, unpacked(document.getElementById(script)));
    const given = (await unpacked(packed)).replaceAll('<', '\\u003c');
    frame.srcdoc = '<!doctype html><html lang="en"><head><meta charset="utf-8">'
      + `<meta http-equiv="Content-Security-Policy" content="${policy}">`
      + '<style>html { color-scheme: light; } body { margin: 0; background: #fff; }</style></head><body>'
      + '<script type="application/json" id="given">' + given + '</' + 'script>'
      + '<script>' + await scripts.get(script) + '</' + 'script></body></html>';
  };
  const seen = new IntersectionObserver((entries) => {
    for (const {target} of entries.filter((one) => one.isIntersecting)) {
      seen.unobserve(target);
      start(target);
    }
  }, {rootMargin: '600px'});
  for (const frame of document.querySelectorAll('iframe.dashboard')) seen.observe(frame);
}
