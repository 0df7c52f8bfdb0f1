// The page's words in English and Chinese: two flat dictionaries with equal keys.

export const EN = {
  skip: 'Skip to the question',
  tagline: 'One answer, four transports.',
  fresh: 'New chat',
  lab: 'Lab',
  transcript: 'Conversation',
  emptyTitle: 'Ask something and watch the answer arrive.',
  emptyText: 'Each answer shows its token usage and when its bytes arrived. Change the transport below, ask again, and compare.',
  prompt1: 'What can you do?',
  prompt2: 'Explain SSE vs WebSocket in a table',
  prompt3: '用中文介绍一下你自己',
  prompt4: '/help',
  latest: 'Jump to latest',
  question: 'Your question',
  placeholder: 'Ask anything',
  send: 'Send',
  stop: 'Stop',
  model: 'Model',
  noModels: 'no models',
  transport: 'Transport',
  json: 'One request, one body: nothing arrives until the answer is complete.',
  ndjson: 'A streamed body: one JSON event per line, each sent as it happens.',
  sse: 'A streamed body: events in text/event-stream format, as in most LLM APIs.',
  websocket: 'One two-way connection for all turns, one message per event.',
  keyLabel: 'This server requires an API key',
  keyUse: 'Use key',
  keyWrong: 'The server did not accept this key.',
  offline: 'The server does not respond. Retrying…',
  waiting: 'waiting for the first token',
  waitingJson: 'waiting for the complete answer',
  thinking: 'Thinking…',
  thought: 'Thought for {s}',
  calls: 'calls',
  copy: 'Copy',
  copied: 'Copied',
  again: 'Ask again',
  reconnect: 'Reconnect',
  reconnecting: 'Connection lost. Reconnecting…',
  stopping: 'Stopping…',
  stopFailed: 'The server did not accept the stop. The answer continues.',
  caughtUp: 'Reconnected; caught up on {n} events',
  cancelled: 'Stopped. The server ended the answer and kept the text so far.',
  aborted: 'Stopped: the connection was closed. Nothing was stored, so the server stops the model too.',
  abortedStored: 'Stopped waiting before the server returned the id of the answer. It may still be running there.',
  reloaded: 'The page was reloaded while a JSON answer was in progress. It was not stored and is lost.',
  lost: 'The connection was lost. The answer may still be running on the server.',
  failed: 'Failed: {why}',
  incomplete: 'Ended early: {why}',
  noText: 'The answer has no text.',
  network: 'the server could not be reached',
  noSocket: 'the server responds, but no WebSocket could be opened; something in between may block it',
  max_output_tokens: 'the token limit was reached',
  content_filter: 'a content filter stopped it',
  server_restarted: 'the server was restarted',
  key_revoked: 'its key was revoked',
  figTotal: 'total',
  figTotalHint: 'From sending the question to the end of the answer',
  figTtft: 'first token',
  figTtftHint: 'From sending the question to the first piece of the answer',
  figTtftJson: 'Nothing could be shown before the answer was complete',
  figRate: 'tokens/s',
  figRateHint: 'Output tokens over the time from the first token to the end',
  figRateLeast: 'A lower bound: the generation time is not visible, so the total time is used',
  figTokens: 'tokens in → out',
  provider: 'provider',
  counted: 'counted',
  providerHint: 'Reported by the model provider',
  countedHint: 'Counted by this server',
  figEvents: 'events',
  figReads: 'reads',
  figMessages: 'messages',
  figBytes: 'received',
  strip: '{n} network reads in {s}',
  stripMessages: '{n} messages in {s}',
  saysBusy: 'Generating',
  saysDone: 'Done',
  saysStopped: 'Stopped',
  saysError: 'Error',
};

export const ZH = {
  skip: '跳到提问框',
  tagline: '同一个回答，四种传输方式。',
  fresh: '新对话',
  lab: '实验台',
  transcript: '对话',
  emptyTitle: '提个问题，看看回答是怎样到达的。',
  emptyText: '每个回答都会显示 token 用量和字节到达的时间。换一种传输方式再问一次，对比一下。',
  prompt1: '你能做什么？',
  prompt2: '用表格比较 SSE 和 WebSocket',
  prompt3: '用中文介绍一下你自己',
  prompt4: '/help',
  latest: '回到最新',
  question: '你的问题',
  placeholder: '问点什么',
  send: '发送',
  stop: '停止',
  model: '模型',
  noModels: '没有模型',
  transport: '传输方式',
  json: '一次请求，一次返回：回答生成完之前收不到任何内容。',
  ndjson: '流式响应：每行一个 JSON 事件，产生后立即发送。',
  sse: '流式响应：事件采用 text/event-stream 格式，多数大模型 API 都是这样。',
  websocket: '一条双向长连接，多轮共用，每个事件一条消息。',
  keyLabel: '此服务器需要 API 密钥',
  keyUse: '使用密钥',
  keyWrong: '服务器不接受这个密钥。',
  offline: '服务器没有响应，正在重试…',
  waiting: '等待首个 token',
  waitingJson: '等待完整回答',
  thinking: '思考中…',
  thought: '思考了 {s}',
  calls: '调用',
  copy: '复制',
  copied: '已复制',
  again: '再问一次',
  reconnect: '重新连接',
  reconnecting: '连接断开，正在重连…',
  stopping: '正在停止…',
  stopFailed: '停止请求未被接受，回答仍在继续。',
  caughtUp: '已重连，补收 {n} 个事件',
  cancelled: '已停止。服务器结束了这个回答，并保留了已生成的部分。',
  aborted: '已停止：连接已关闭。这个回答没有存储，服务器会同时停止模型。',
  abortedStored: '在服务器返回回答的 ID 之前已停止等待；它可能仍在服务器上运行。',
  reloaded: 'JSON 回答尚未返回时页面被刷新。该回答没有存储，已经丢失。',
  lost: '连接已断开。回答可能仍在服务器上继续。',
  failed: '失败：{why}',
  incomplete: '提前结束：{why}',
  noText: '这个回答没有文本。',
  network: '无法连接服务器',
  noSocket: '服务器有响应，但无法建立 WebSocket，可能被中间代理拦截',
  max_output_tokens: '达到 token 上限',
  content_filter: '被内容过滤器拦截',
  server_restarted: '服务器重启了',
  key_revoked: '密钥已被撤销',
  figTotal: '总用时',
  figTotalHint: '从发出问题到回答结束',
  figTtft: '首 token',
  figTtftHint: '从发出问题到收到回答的第一个片段',
  figTtftJson: '回答完整返回之前无法显示任何内容',
  figRate: 'token/秒',
  figRateHint: '输出 token 数除以首 token 到结束的时间',
  figRateLeast: '下限值：看不到生成时间，因此按总用时计算',
  figTokens: 'token 输入 → 输出',
  provider: '上游报告',
  counted: '服务器统计',
  providerHint: '由模型提供方报告',
  countedHint: '由本服务器统计',
  figEvents: '事件',
  figReads: '读取次数',
  figMessages: '消息数',
  figBytes: '已接收',
  strip: '{s} 内 {n} 次网络读取',
  stripMessages: '{s} 内 {n} 条消息',
  saysBusy: '正在生成',
  saysDone: '完成',
  saysStopped: '已停止',
  saysError: '出错',
};

/** Takes in the words of another page. */
export function learn(english, chinese) {
  Object.assign(EN, english);
  Object.assign(ZH, chinese);
}

const STORE = 'weir.language';
let language = localStorage_()?.getItem(STORE) ?? (/^zh\b/i.test(globalThis.navigator?.language ?? '') ? 'zh' : 'en');

function localStorage_() {
  try {
    return globalThis.window?.localStorage;
  } catch {
    return null; // storage may be forbidden
  }
}

export const languageNow = () => language;

export function t(key, values = {}) {
  const words = (language === 'zh' ? ZH : EN)[key] ?? key;
  return words.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}

export const has = (key) => Object.hasOwn(EN, key);

export const number = (value, digits = 0) => value.toLocaleString(language === 'zh' ? 'zh-CN' : 'en-US', {
  minimumFractionDigits: digits, maximumFractionDigits: digits,
});

export const duration = (ms) => (ms < 1000 ? `${number(ms)} ms` : ms < 60_000 ? `${number(ms / 1000, 2)} s` : `${number(ms / 1000)} s`);

export const size = (bytes) => (bytes < 1000 ? `${bytes} B` : bytes < 1e6 ? `${number(bytes / 1000, 1)} kB` : `${number(bytes / 1e6, 1)} MB`);

export function speak(to) {
  language = to;
  localStorage_()?.setItem(STORE, to);
  translate();
}

/** Fills every element that names its words: data-t (text), data-t-label, data-t-placeholder. */
export function translate() {
  document.documentElement.lang = language === 'zh' ? 'zh-Hans' : 'en';
  for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll('[data-t-label]')) node.setAttribute('aria-label', t(node.dataset.tLabel));
  for (const node of document.querySelectorAll('[data-t-placeholder]')) node.placeholder = t(node.dataset.tPlaceholder);
  for (const node of document.querySelectorAll('[data-copy]')) node.textContent = t('copy');
  for (const node of document.querySelectorAll('[data-lang]')) node.setAttribute('aria-pressed', String(node.dataset.lang === language));
}
