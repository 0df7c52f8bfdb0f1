// A page with a question, an answer that grows, and a button that stops it.

const { askOverChunks, askOverSocket } = require('../../weir.js');

const SERVER = 'http://127.0.0.1:8000';
// Each `setData` crosses from the logic to the page's own thread; ten a second look smooth and cost little.
const SHOW_MILLISECONDS = 100;

Page({
  data: { question: '/count 50', answer: '', note: '', running: false, socket: true },

  write({ detail }) {
    this.setData({ question: detail.value });
  },

  choose({ detail }) {
    this.setData({ socket: detail.value });
  },

  ask() {
    if (this.data.running) return;
    let text = '';
    let timer = null;
    const show = () => {
      timer = null;
      this.setData({ answer: text });
    };
    this.setData({ answer: '', note: '', running: true });
    const ask = this.data.socket ? askOverSocket : askOverChunks;
    this.answer = ask({
      server: this.server || SERVER,
      body: { model: 'demo', input: this.data.question },
      onEvent: (event) => {
        if (event.type === 'response.output_text.delta') {
          text += event.delta;
          if (timer === null) timer = setTimeout(show, SHOW_MILLISECONDS);
        }
        if (event.response) this.setData({ note: event.response.status });
      },
      onEnd: (error) => {
        clearTimeout(timer);
        this.setData({ answer: text, running: false, note: error ? error.message : this.data.note });
      },
    });
  },

  stop() {
    if (this.answer) this.answer.stop();
  },

  onUnload() {
    this.stop();
  },
});
