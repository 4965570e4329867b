// Dialogs that ask for confirmation or for the token. Native dialogs: they trap the focus, and Escape cancels.
import { api, token } from './api.js';
import { announce, h } from './dom.js';

function openDialog(title, parts, { yes, danger = false }) {
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

export const confirm = (title, explanation, yes) => openDialog(title, [h('p', {}, explanation)], { yes, danger: true });

/** What is wrong with this tab's token: `rights` are those that the relay has given it. Null if there is nothing to say. */
export function tokenProblem({ may_read, may_write }) {
  if (!token.get() || may_write) return null;
  return may_read ? 'This token may read and nothing else.' : 'The relay does not know this token.';
}

/** The explanation in the token dialog: what is wrong with the last one, or else why one is needed, and where it is. */
export const tokenExplanation = (problem, why) => `${problem ?? why} The relay printed its token at the first start, and names the token file at every start. A token may also be set in the configuration, under [api].`;

let asking = null;
/** True if a token was entered. Simultaneous calls share one dialog. */
export function askToken(why) {
  asking ??= (async () => {
    const input = h('input', { type: 'password', id: 'token', autocomplete: 'off', spellcheck: 'false', required: true });
    const given = await openDialog('Token required', [
      h('p', {}, why), h('label', { for: 'token' }, 'Token'), input,
      h('p.small', {}, 'The token is kept until this tab is closed.'),
    ], { yes: 'Continue' });
    if (given) token.set(input.value.trim());
    return given;
  })().finally(() => { asking = null; });
  return asking;
}

/** Runs an action, asks for a token if the relay requires one, and reports the outcome. */
export async function act(action, done) {
  for (;;) {
    try {
      await action(api);
      announce(done);
      return { done: true, message: done };
    } catch (error) {
      if (error.status === 404) return { done: true, message: 'It had already ended.' };
      if (![401, 403].includes(error.status)) return { done: false, message: `Failed: ${error.message}.` };
      // 403: the relay knows the token, and it may not do this.
      const problem = tokenProblem({ may_read: error.status === 403 });
      if (!await askToken(tokenExplanation(problem, 'Ending connections requires the relay’s token.'))) return { done: false, message: 'Nothing was ended: a token is required.' };
    }
  }
}
