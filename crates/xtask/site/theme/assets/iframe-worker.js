// Browsers start no worker for a page on disk. There the search runs in a hidden frame, which has a window in place of a worker.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(script) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      const attach = () => {
        document.body.append(frame);
        const inside = frame.contentWindow;
        // What the script posts comes here, and not to its own window.
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        const element = frame.contentDocument.createElement("script");
        element.src = script;
        element.onload = () => {
          this.postMessage = (data) => inside.dispatchEvent(new MessageEvent("message", { data }));
          this.waiting.forEach((data) => this.postMessage(data));
        };
        element.onerror = () => this.dispatchEvent(new Event("error"));
        frame.contentDocument.body.append(element);
      };
      if (document.body) attach();
      else addEventListener("DOMContentLoaded", attach);
    }

    postMessage(data) {
      this.waiting.push(data);
    }
  };
}
