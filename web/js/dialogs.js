// Asks the person: are you sure, and what is the token. Native dialogs: focus stays inside, Escape says no.
import { api, token } from './api.js';
import { h, say } from './dom.js';

function ask(title, parts, { yes, danger = false }) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const no = h('button.quiet', { type: 'button', onclick: () => dialog.close('') }, 'Cancel');
    const form = h('form', { method: 'dialog', onsubmit: () => { dialog.returnValue = 'yes'; } },
      h('h2', { id: 'dialog-title' }, title), ...parts,
      h('div.buttons', {}, no, h(danger ? 'button.danger' : 'button.primary', { type: 'submit', value: 'yes' }, yes)));
    const dialog = h('dialog', { 'aria-labelledby': 'dialog-title' }, form);
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
    (form.querySelector('input') ?? no).focus();
  });
}

export const confirm = (title, explanation, yes) => ask(title, [h('p', {}, explanation)], { yes, danger: true });

/** What is said with the question for a token: what it is for, or that the one given does not do. */
export const whyToken = (why) => `${token.get() ? 'The one given does not do.' : why} The relay showed it at its first start, and says at each start which file it is in; or it is in the configuration, under [api].`;

let asking = null;
/** True if one was given. Two questions at once are one question. */
export function askToken(why) {
  asking ??= (async () => {
    const input = h('input', { type: 'password', id: 'token', autocomplete: 'off', spellcheck: 'false', required: true });
    const given = await ask('The relay asks for a token', [
      h('p', {}, why), h('label', { for: 'token' }, 'Token'), input,
      h('p.small', {}, 'It is kept until this tab is closed.'),
    ], { yes: 'Continue' });
    if (given) token.set(input.value.trim());
    return given;
  })().finally(() => { asking = null; });
  return asking;
}

/** Does it, with a token if the relay wants one; says how it went. */
export async function act(what, done) {
  for (;;) {
    try {
      await what(api);
      say(done);
      return { done: true, message: done };
    } catch (error) {
      if (error.status === 404) return { done: true, message: 'It was gone already.' };
      if (error.status !== 401) return { done: false, message: `That did not work: ${error.message}.` };
      if (!await askToken(whyToken('To end connections, give the relay’s token.'))) return { done: false, message: 'Nothing was ended: the relay wants a token.' };
    }
  }
}
