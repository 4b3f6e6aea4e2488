// How a commit is asked for, and what it answers. What may stand in the options is judged where they come in, by the model or by
// RESTCONF's query parameters.

export interface CommitOptions {
  /** Who changes it, for the history. */
  user: string;
  /** One line. */
  comment?: string;
  /** It is rolled back unless it is confirmed within so many seconds. */
  confirmSeconds?: number;
  /** Tag of the configuration that is to be changed; refused when another one is in force. */
  expect?: string;
}

export interface CommitResult {
  number: number;
  etag: string;
  /** Paths of what has changed: none when it was so already, and nothing was done. */
  changed: string[];
}
