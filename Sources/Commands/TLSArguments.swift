// A client's certificates, and who it is, handed on to the programs that it starts.

package import Client

extension TLSOptions {
  package enum Variable {
    package static let trustedCAFile = "PORTCULLIS_CACERT"
    package static let certificateFile = "PORTCULLIS_CERT"
    package static let keyFile = "PORTCULLIS_KEY"
    package static let skipsVerification = "PORTCULLIS_INSECURE_SKIP_TLS_VERIFY"
  }

  /// As flags of our commands.
  package var arguments: [String] {
    var arguments: [String] = []
    if let trustedCAFile { arguments += ["--cacert", trustedCAFile] }
    if let certificateFile { arguments += ["--cert", certificateFile] }
    if let keyFile { arguments += ["--key", keyFile] }
    if skipsVerification { arguments.append("--insecure-skip-tls-verify") }
    return arguments
  }

  /// As the environment of our commands.
  package var environment: [String: String] {
    var environment: [String: String] = [:]
    environment[Variable.trustedCAFile] = trustedCAFile
    environment[Variable.certificateFile] = certificateFile
    environment[Variable.keyFile] = keyFile
    if skipsVerification { environment[Variable.skipsVerification] = "true" }
    return environment
  }
}

extension Credentials {
  package enum Variable {
    package static let user = "PORTCULLIS_USER"
    package static let password = "PORTCULLIS_PASSWORD"
  }

  /// As the environment of our commands: arguments are everybody's to read.
  package var environment: [String: String] { [Variable.user: user, Variable.password: password] }
}
