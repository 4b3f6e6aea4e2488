// What the `vita` command's exit codes mean, beside 0 for success.

/** The request was understood and refused, or failed. */
export const EXIT_FAILED = 1;
/** The command line, a path or a value is not what it must be; nothing was asked. */
export const EXIT_USAGE = 2;
/** The node does not run, or does not answer. */
export const EXIT_UNREACHABLE = 3;
/** There is no such data. */
export const EXIT_NO_DATA = 4;

/** An error that ends the command with a code of its own. */
export class CliError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode = EXIT_FAILED) {
    super(message);
    this.name = "CliError";
    this.exitCode = exitCode;
  }
}
