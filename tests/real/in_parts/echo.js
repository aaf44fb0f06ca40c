// A server that echoes each message, on Node's ws: node echo.js PORT
const { WebSocketServer } = require("ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), perMessageDeflate: true, maxPayload: 2 ** 26 });
server.on("connection", (socket) => {
  socket.on("message", (data, binary) => {
    // In two fragments.
    const half = Math.floor(data.length / 2);
    socket.send(data.subarray(0, half), { binary, fin: false });
    socket.send(data.subarray(half), { binary, fin: true });
  });
});
