// Runs before the widget of raiwidgets: reads the data, and answers what the widget would ask its server.
(() => {
  const given = JSON.parse(document.getElementById("given").textContent);
  window.luthier = { config: given.config, data: given.data, unanswered: [] };

  // A sandboxed frame has no storage: reading the property throws, and the widget reads it at its start.
  const kept = new Map();
  const storage = {
    getItem: (name) => (kept.has(name) ? kept.get(name) : null),
    setItem: (name, value) => void kept.set(name, String(value)),
    removeItem: (name) => void kept.delete(name),
    clear: () => kept.clear(),
    key: (place) => [...kept.keys()][place] ?? null,
    get length() { return kept.size; },
  };
  for (const name of ["localStorage", "sessionStorage"]) {
    Object.defineProperty(window, name, { value: storage, configurable: true });
  }

  // The policy of the page evaluates no text. Libraries for drawings in three dimensions, which no dashboard has, make
  // functions of texts as they load; they get one that does nothing.
  const Native = Function;
  const nothing = () => nothing;
  window.Function = function (...texts) {
    try {
      return Native(...texts);
    } catch {
      return nothing;
    }
  };
  window.Function.prototype = Native.prototype;

  // Otherwise the widget would fetch fonts from the network.
  window.FabricConfig = { fontBaseUrl: "" };

  const bar = document.createElement("div");
  bar.setAttribute("role", "status");
  bar.style.cssText =
    "display:none;position:sticky;top:0;z-index:1000001;padding:8px 16px;background:#fff4ce;color:#201f1e;font:14px/1.4 'Segoe UI',sans-serif;border-bottom:1px solid #d9c47a";
  const root = document.createElement("div");
  root.id = "dashboard";
  document.body.prepend(bar, root);
  const say = (text) => {
    bar.textContent = text;
    bar.style.display = text ? "block" : "none";
  };

  if (!given.answered) return;
  const key = (path, body) => path + JSON.stringify(body);
  const answers = new Map(given.answered.map((one) => [key(one.path, one.body), one.answer]));
  // What is nearest to a tree or a heat map that the file does not hold, and what to say beside it.
  const nearest = {
    "/tree": ([, filters, composite]) => {
      const same = given.answered.find(
        (one) => one.path === "/tree" && key("", one.body.slice(1, 3)) === key("", [filters, composite]),
      );
      return same
        ? [same.answer, "This file holds the error tree of all features; it shows that one."]
        : [[], "This file holds no error tree of this cohort: the tree and the counts beside it are still those of the one before."];
    },
    "/matrix": () => [null, "This file does not hold this heat map."],
    "/importances": () => [[], ""],
  };
  window.fetch = async (address, options) => {
    const path = String(address).replace(/^saved:/, "");
    const body = JSON.parse(options.body);
    let answer = answers.get(key(path, body));
    say("");
    if (answer === undefined) {
      const [found, said] = (nearest[path] ?? (() => [undefined, "This needs the running model."]))(body);
      answer = found;
      say(said + (path in nearest && said ? " Run luthier rai with --serve to have any other computed." : ""));
      window.luthier.unanswered.push(key(path, body));
    }
    const text = JSON.stringify(answer === undefined ? { error: "not in this file" } : { data: answer });
    return new Response(text, { status: 200, headers: { "Content-Type": "application/json" } });
  };
})();
