// A worker that also starts when the site is read from a folder on disk, where browsers start no
// real one: an iframe whose script runs in the page's own thread. Only the search uses it.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.appendChild(this.frame)
      const inside = this.frame.contentWindow
      const tell = (data) => {
        const event = new MessageEvent("message", { data })
        if (this.onmessage) this.onmessage(event)
        this.dispatchEvent(event)
      }
      inside.document.open()
      inside.document.write("<!doctype html><html><body></body></html>")
      inside.document.close()
      inside.postMessage = (data) => setTimeout(() => tell(data))
      inside.importScripts = (...urls) =>
        Promise.all(urls.map((each) => new Promise((done, failed) => {
          const script = inside.document.createElement("script")
          Object.assign(script, { src: each, onload: done, onerror: failed })
          inside.document.body.appendChild(script)
        })))
      inside.__index = window.__index
      const script = inside.document.createElement("script")
      script.src = url
      script.onload = () => {
        const early = this.waiting
        this.waiting = null
        early.forEach((data) => this.postMessage(data))
      }
      inside.document.body.appendChild(script)
    }

    postMessage(data) {
      if (this.waiting) { this.waiting.push(data); return }
      const event = this.frame.contentWindow.document.createEvent("Event")
      event.initEvent("message", false, false)
      event.data = data
      this.frame.contentWindow.dispatchEvent(event)
    }

    terminate() { this.frame.remove() }
  }
}
