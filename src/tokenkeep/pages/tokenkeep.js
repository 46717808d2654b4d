/**
 * Log in and out from a web page, and call APIs with an access token that is always fresh.
 *
 *     import { AuthClient } from "https://auth.example.com/tokenkeep.js";
 *     const auth = new AuthClient({ issuer: "https://auth.example.com" });
 *
 * The access token is in the memory of the page and nowhere else. The refresh token is in a cookie that no script can
 * read. All tabs of an origin share one session: one of them refreshes, and the others are told.
 *
 * One file, without dependencies; it needs no `eval`, and nothing inline.
 */

/** Milliseconds after which a request to the auth server is given up, so that no tab holds up the others for ever. */
const LONGEST_WAIT = 15_000;
/** Milliseconds before its end from which an access token is replaced, or a fifth of its life if that is less. */
const MARGIN = 60_000;
/** Milliseconds within which another tab that has a fresh token has said so. */
const ANSWER_WITHIN = 250;
/** Milliseconds for which the auth server is left alone after a failure, where it does not name a time itself. */
const PAUSE = 2_000;

/** Why something was refused or failed: `code` is stable, `message` is for people. */
export class AuthError extends Error {
  /**
   * @param {string} code one of the codes of the auth server, or `logged_out`, `unreachable`.
   * @param {string} message
   * @param {{status?: number, field?: string, retryAfter?: number, cause?: unknown}} [more]
   */
  constructor(code, message, { status, field, retryAfter, cause } = {}) {
    super(message, { cause });
    this.name = "AuthError";
    this.code = code;
    /** The HTTP status, if there was an answer. */
    this.status = status ?? null;
    /** The member of the request that was not acceptable. */
    this.field = field ?? null;
    /** Seconds to wait before another attempt. */
    this.retryAfter = retryAfter ?? null;
  }
}

/**
 * Who is logged in; read from the access token for showing, never for deciding anything.
 *
 * @typedef {{id: string, name: string, role: string}} User
 */

/**
 * A session with one auth server, shared by all tabs of this origin.
 *
 * Sends `change` whenever `user` has changed: by a login or logout in any tab, or because the session is over.
 */
export class AuthClient extends EventTarget {
  #issuer;
  #audience;
  #origins;
  #name;
  #channel;
  /** What is held: undefined until somebody has looked, null when nobody is logged in. */
  #held;
  #renewal = null;
  #queue = Promise.resolve();
  #failure = null;
  #leave = () => {};
  #closed = false;

  /**
   * @param {object} options
   * @param {string} options.issuer the address of the auth server, with its path if it has one.
   * @param {string} [options.audience] whom access tokens are for; the auth server itself when left out.
   * @param {string[]} [options.apis] origins that `fetch` may send the access token to. When left out: that of
   *   `audience` if it is an address, else that of `issuer`.
   */
  constructor({ issuer, audience, apis }) {
    super();
    this.#issuer = new URL(issuer).href.replace(/\/$/, "");
    this.#audience = audience;
    this.#origins = new Set((apis ?? [/^https?:/.test(audience ?? "") ? audience : issuer]).map(originOf));
    this.#name = `tokenkeep ${this.#issuer}`;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#join();
    addEventListener("pagehide", this.#hidden);
    addEventListener("pageshow", this.#shown);
  }

  /** Who is logged in as far as this page knows, or null. @returns {User | null} */
  get user() {
    return this.#held?.user ?? null;
  }

  /**
   * Take up the session that the browser may still have; for the start of a page.
   *
   * @returns {Promise<User | null>} who is logged in, or null.
   * @throws {AuthError} the auth server does not answer.
   */
  async restore() {
    if (this.#held === null) this.#held = undefined;
    try {
      await this.token();
    } catch (error) {
      if (!isLoggedOut(error)) throw error;
    }
    return this.user;
  }

  /**
   * Log in. A session that was open in this browser ends.
   *
   * @param {string} name
   * @param {string} password
   * @returns {Promise<User>}
   * @throws {AuthError} refused, such as `invalid_credentials`, or not reached.
   */
  async login(name, password) {
    return this.#alone(async () => {
      const answer = await this.#post("/login", { name, password, ...this.#wish });
      return this.#begin(answer);
    });
  }

  /**
   * Log out: the session and its access tokens end, in all tabs. When it fails, the session goes on.
   *
   * @throws {AuthError} the auth server does not answer.
   */
  async logout() {
    await this.#alone(async () => {
      await this.#post("/logout");
      this.#end();
    });
  }

  /**
   * Change the password. All sessions of the account end, on other machines too, and a new one begins here.
   *
   * @param {string} currentPassword
   * @param {string} newPassword
   * @returns {Promise<User>}
   * @throws {AuthError} refused, such as `invalid_credentials` or `invalid_field`, or not reached.
   */
  async changePassword(currentPassword, newPassword) {
    let token = await this.token();
    return this.#alone(async () => {
      // Only a token for the auth server itself opens its own routes.
      if (this.#audience !== undefined) token = (await this.#refresh({})).accessToken;
      let answer = await this.#post("/password", { currentPassword, newPassword }, token);
      if (this.#audience !== undefined) answer = await this.#refresh(this.#wish);
      return this.#begin(answer);
    });
  }

  /**
   * Return an access token that is good for some seconds at least, refreshed if need be.
   *
   * @returns {Promise<string>}
   * @throws {AuthError} `logged_out`, or the auth server does not answer.
   */
  async token() {
    const held = this.#held;
    if (held === null) throw loggedOut();
    if (held === undefined || Date.now() >= held.renewAt) {
      try {
        await this.#renew(held);
      } catch (error) {
        // Until its very end the old one is as good as ever.
        if (isLoggedOut(error) || this.#held == null || Date.now() >= this.#held.expiresAt) throw error;
      }
    }
    if (this.#held == null) throw loggedOut();
    return this.#held.token;
  }

  /**
   * Do what `fetch` of the browser does, with the access token; after a 401 once more with a new one.
   *
   * Redirects are errors unless `init.redirect` says otherwise.
   *
   * @param {RequestInfo | URL} input an address of one of the `apis`.
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   * @throws {TypeError} an address elsewhere: the token is not sent there. Or what `fetch` throws.
   * @throws {AuthError} `logged_out`, or the auth server does not answer.
   */
  async fetch(input, init = {}) {
    const request = new Request(input, { ...init, redirect: init.redirect ?? "error" });
    const { origin } = new URL(request.url);
    if (!this.#origins.has(origin)) {
      throw new TypeError(`${origin} is none of the apis that this AuthClient may send its access token to`);
    }
    const again = request.clone();
    await this.token();
    const used = this.#held;
    const response = await fetch(bearing(request, used.token));
    if (response.status !== 401 || !challenges(response)) return response;
    try {
      if (this.#held === used) await this.#renew(used);
    } catch (error) {
      if (isLoggedOut(error)) return response;
      throw error;
    }
    return this.#held == null ? response : fetch(bearing(again, this.#held.token));
  }

  /** Let go of everything; the session goes on in the browser. */
  close() {
    this.#closed = true;
    this.#leave();
    this.#channel.close();
    removeEventListener("pagehide", this.#hidden);
    removeEventListener("pageshow", this.#shown);
    this.#held = null;
  }

  // -- renewing ----------------------------------------------------------------------------------------------------

  get #wish() {
    return this.#audience === undefined ? {} : { audience: this.#audience };
  }

  /** Replace what is held, once for all who ask meanwhile, in this page and in the other tabs. */
  #renew(stale) {
    this.#renewal ??= this.#alone(() => this.#renewed(stale)).finally(() => (this.#renewal = null));
    return this.#renewal;
  }

  async #renewed(stale) {
    if (this.#newer(this.#held, stale) || (await this.#told(stale))) return;
    if (this.#held === null) throw loggedOut();
    if (this.#failure && Date.now() < this.#failure.until) throw this.#failure.error;
    try {
      this.#hold(this.#read(await this.#refresh(this.#wish)));
      this.#failure = null;
    } catch (error) {
      if (!isLoggedOut(error)) {
        this.#failure = { error, until: Date.now() + (error.retryAfter === null ? PAUSE : error.retryAfter * 1000) };
      }
      throw error;
    }
    this.#say({ kind: "held", ...this.#held });
  }

  async #refresh(wish) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#post("/refresh", wish);
      } catch (error) {
        // The browser has a newer cookie by now than the one that was sent.
        if (error.code === "invalid_refresh_token" && attempt === 1) continue;
        if (error.code !== "invalid_refresh_token" && error.code !== "no_valid_refresh_token") throw error;
        this.#end();
        throw loggedOut();
      }
    }
  }

  /** Run something while no other tab of this origin does, so that the cookie changes under nobody's hands. */
  #alone(work) {
    if (navigator.locks) return navigator.locks.request(this.#name, work);
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => {});
    return done;
  }

  #newer(held, stale) {
    return held != null && Date.now() < held.renewAt && held.obtainedAt > (stale?.obtainedAt ?? 0);
  }

  // -- the session -------------------------------------------------------------------------------------------------

  #begin(answer) {
    this.#failure = null;
    this.#hold(this.#read(answer));
    this.#say({ kind: "began", ...this.#held });
    return this.#held.user;
  }

  #end() {
    this.#hold(null);
    this.#say({ kind: "ended" });
  }

  #hold(held) {
    if (this.#closed) return;
    const before = JSON.stringify(this.user);
    this.#held = held;
    if (JSON.stringify(this.user) !== before) this.dispatchEvent(new Event("change"));
  }

  #read({ accessToken, expiresIn }) {
    const { sub, name, role } = claimsOf(accessToken);
    const now = Date.now();
    const expiresAt = now + expiresIn * 1000;
    return {
      token: accessToken,
      user: Object.freeze({ id: sub, name, role }),
      obtainedAt: now,
      renewAt: expiresAt - Math.min(MARGIN, expiresIn * 200),
      expiresAt,
    };
  }

  // -- the other tabs ----------------------------------------------------------------------------------------------

  /** Be counted among the open tabs of this origin; whoever is alone need not wait for answers. */
  #join() {
    const stay = () => this.#closed || new Promise((leave) => (this.#leave = leave));
    navigator.locks?.request(`${this.#name} tab`, { mode: "shared" }, stay);
  }

  /** Ask the other tabs for something newer, if there are any, and tell whether one had it. */
  async #told(stale) {
    const { held } = (await navigator.locks?.query()) ?? { held: [] };
    if (held.filter(({ name }) => name === `${this.#name} tab`).length < 2) return false;
    const answered = new Promise((resolve) => {
      const listen = () => this.#newer(this.#held, stale) && resolve();
      this.#channel.addEventListener("message", listen);
      setTimeout(resolve, ANSWER_WITHIN);
    });
    this.#say({ kind: "ask" });
    await answered;
    return this.#newer(this.#held, stale);
  }

  #say(message) {
    if (!this.#closed) this.#channel.postMessage({ audience: this.#audience, ...message });
  }

  #hear({ kind, audience, ...held }) {
    if (kind === "ended") {
      this.#hold(null);
    } else if (kind === "ask") {
      if (audience === this.#audience && this.#held != null && Date.now() < this.#held.renewAt) {
        this.#say({ kind: "held", ...this.#held });
      }
    } else if (audience === this.#audience) {
      if (kind === "began" || this.#newer(held, this.#held)) this.#hold(held);
    } else if (kind === "began") {
      // Somebody logged in, perhaps somebody else: what is held for this audience belongs to a session that is over.
      this.#hold(undefined);
    }
  }

  #hidden = () => this.#leave();

  #shown = ({ persisted }) => {
    // The page comes back as it was left, and has not heard what happened meanwhile.
    if (!persisted || this.#closed) return;
    this.#join();
    if (this.#held != null) this.#held = { ...this.#held, renewAt: 0, expiresAt: 0 };
  };

  // -- the auth server ---------------------------------------------------------------------------------------------

  async #post(path, body, token) {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    if (token !== undefined) headers.Authorization = `Bearer ${token}`;
    let response;
    try {
      response = await fetch(this.#issuer + path, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
        credentials: "include",
        redirect: "error",
        cache: "no-store",
        signal: AbortSignal.timeout(LONGEST_WAIT),
      });
      if (response.ok) return await response.json();
    } catch (cause) {
      throw new AuthError("unreachable", "The auth server cannot be reached", { cause });
    }
    const problem = await response.json().catch(() => ({}));
    const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
    throw new AuthError(problem.code ?? "unreachable", problem.error ?? "The auth server cannot be reached", {
      status: response.status,
      field: problem.field,
      retryAfter: Number.isNaN(seconds) ? undefined : seconds,
    });
  }
}

function originOf(address) {
  const { origin, protocol } = new URL(address);
  if (protocol !== "https:" && protocol !== "http:") throw new TypeError(`${address} is no address of an API`);
  return origin;
}

function bearing(request, token) {
  request.headers.set("Authorization", `Bearer ${token}`);
  return request;
}

/** Tell whether a 401 is about the access token; of a header that this page may not read it is assumed. */
function challenges(response) {
  return /^Bearer\b/i.test(response.headers.get("WWW-Authenticate") ?? "Bearer");
}

function loggedOut() {
  return new AuthError("logged_out", "Nobody is logged in");
}

function isLoggedOut(error) {
  return error.code === "logged_out";
}

function claimsOf(token) {
  const text = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (character) => character.charCodeAt(0))));
}
