"""The command `studio mcp`: tools for coding agents, by the Model Context Protocol on standard input and output."""

from studio.cli.usage import PlainUsage, new_app
from studio.entry_points import install_command

app = new_app()


@app.command(cls=PlainUsage)
def mcp() -> int:
    """Serve tools to a coding agent: inspect a script, start a search here, get its state, its best, a patch."""
    try:
        from mcp.server.mcpserver import MCPServer
    except ImportError:
        from studio.errors import BadInput

        raise BadInput(f"studio mcp needs the Model Context Protocol: {install_command('mcp')}") from None
    from studio.cli import mcp_tools

    server = MCPServer("studio", instructions=mcp_tools.INSTRUCTIONS)
    for tool in mcp_tools.TOOLS:
        server.tool()(tool)
    server.run()
    return 0
