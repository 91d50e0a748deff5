// Browsers start no worker for a page on disk. There the search runs in a hidden frame, whose window takes the worker's place.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(script) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      // What the script posts comes here, and not to its own window. Messages arrive later, as those of a worker do.
      inside.postMessage = (data) => setTimeout(() => this.say("message", data));
      const element = this.frame.contentDocument.createElement("script");
      element.src = script;
      element.onload = () => {
        this.post = (data) => setTimeout(() => inside.dispatchEvent(new MessageEvent("message", { data })));
        this.waiting.forEach(this.post);
      };
      element.onerror = () => this.say("error");
      this.frame.contentDocument.body.append(element);
    }

    postMessage(data) {
      const copy = structuredClone(data);
      if (this.post) this.post(copy);
      else this.waiting.push(copy);
    }

    say(type, data) {
      const event = new MessageEvent(type, { data: structuredClone(data) });
      this[`on${type}`]?.(event);
      this.dispatchEvent(event);
    }

    terminate() {
      this.frame.remove();
    }
  };
}
